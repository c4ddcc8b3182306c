"""Jobs for tests/compute/test_cluster.py: nodes import them."""

import os
import signal
import time
from pathlib import Path

import numpy as np

from terracyte.compute import Ask


def look(number: int, ask: Ask) -> tuple[str, int, list[int], str]:
    """The folder, what was answered, the rows of `images.npy`, and what stands in `deep/text`."""
    time.sleep(1)
    rows = np.load("images.npy", mmap_mode="r").sum(axis=1).tolist()
    return str(Path.cwd()), ask(number), rows, Path("deep/text").read_text()


def count(number: int, ask: Ask) -> int:
    """Tell each step of four."""
    for step in range(4):
        time.sleep(0.5)
        ask(step)
    return number


def die(number: int, ask: Ask) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def refuse(number: int, ask: Ask) -> None:
    raise ValueError(f"{number} is no good")
