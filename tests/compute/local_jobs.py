"""Jobs for tests/compute/test_local.py; worker processes import this module, so it imports little itself."""

import os
import signal
import time
from pathlib import Path

from terracyte import compute
from terracyte.compute import Ask, Inputs
from terracyte.core.errors import InputError
from terracyte.params import Compute


def square(number: int, ask: Ask) -> tuple[int, int]:
    time.sleep(0.05)
    return number * number, os.getpid()


def die_once(trace: Path, ask: Ask) -> str:
    """Kill its own process the first time, and return "done" the next."""
    if not trace.exists():
        trace.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def die_always(trace: Path, ask: Ask) -> None:
    with trace.open("a") as stream:
        stream.write("x")
    os.kill(os.getpid(), signal.SIGKILL)


def refuse(number: int, ask: Ask) -> int:
    raise InputError(f"{number} is no good")


def converse(number: int, ask: Ask) -> list[int]:
    return [ask(number + step) for step in range(3)]


def wait_long(trace: str) -> None:
    list(compute.run(sleep, [trace], Compute(workers=1), Inputs()))


def sleep(trace: str, ask: Ask) -> None:
    Path(trace).write_text(f"{os.getpid()}\n")
    time.sleep(600)
