"""Jobs for tests/compute/test_cluster.py, in a module that the nodes import."""

import os
import signal
import time
from pathlib import Path

import numpy as np

from terracyte.compute import Ask


def look(number: int, ask: Ask) -> tuple[str, int, list[int], str]:
    """Return the working folder, the answer to `ask`, the row sums of `images.npy`, and the content of `deep/text`."""
    time.sleep(1)
    rows = np.load("images.npy", mmap_mode="r").sum(axis=1).tolist()
    return str(Path.cwd()), ask(number), rows, Path("deep/text").read_text()


def count(number: int, ask: Ask) -> int:
    """Report each of four steps, half a second apart."""
    for step in range(4):
        time.sleep(0.5)
        ask(step)
    return number


def die(number: int, ask: Ask) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def refuse(number: int, ask: Ask) -> None:
    raise ValueError(f"{number} is no good")
