"""What must hold for every input: it is read or refused with one line, within bounds of time and memory."""

import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow

from terracyte.core.errors import InputError, one_line
from terracyte.ingest.sources.pictures import UnreadableError

MEMORY = 2**30  # bytes that a reader may take for a file of less than 10 MB
# pyarrow's default memory pool takes a gigabyte of address space at its first use.
pyarrow.set_memory_pool(pyarrow.system_memory_pool())

_LONGEST_LINE = 2100  # characters


def outcome(read: Callable[[Path], object], path: Path) -> str:
    """Return the line of a refusal, or "" if the input is read. Other errors pass: users would see a traceback."""
    try:
        read(path)
    except (InputError, UnreadableError) as error:
        line = one_line(str(error))
    except OSError as error:
        if error.filename is None:  # a line for the user would name no file
            raise
        line = one_line(f"{error.filename}: {error.strerror}")
    else:
        return ""
    assert line.isprintable()
    assert len(line) <= _LONGEST_LINE
    return line


@contextmanager
def bounded(memory: int = MEMORY) -> Iterator[None]:
    """Limit the process to the memory that it has now and `memory` bytes more."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (_in_use() + memory, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


@contextmanager
def timed(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the main thread when the time is up."""

    def late(*_: object) -> None:
        raise TimeoutError(f"it took more than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _in_use() -> int:
    status = Path(f"/proc/{os.getpid()}/status").read_text(encoding="ascii")
    (line,) = (each for each in status.splitlines() if each.startswith("VmData:"))
    return int(line.split()[1]) * 1024
