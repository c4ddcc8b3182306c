"""Child processes, none of which outlives this one, and others of this machine, which wait for it."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

_PATIENCE = 60  # seconds in which a process may put away what it has begun


def call(
    command: Sequence[str | Path],
    folder: Path = Path(),
    environment: Mapping[str, str] | None = None,
    *,
    restarts: bool = False,
) -> int:
    """Run a command, on this process's terminal, and return its exit code.

    Args:
        command: the program and its arguments.
        folder: where it runs.
        environment: its variables; None for this process's.
        restarts: see `ending_children`.
    """
    with subprocess.Popen(command, cwd=folder, env=environment) as process, ending_children(restarts=restarts):
        return process.wait()


@contextmanager
def alone(lock: Path, other: str) -> Iterator[None]:
    """Let one process of this machine through at a time; the operating system lets the next one in, whatever happens.

    Args:
        lock: a file that is made for it, and stays.
        other: what is waited for, in words.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for {other}", file=sys.stderr, flush=True)
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


@contextmanager
def ending_children(*, restarts: bool = False) -> Iterator[None]:
    """End what this process has started, down to the last grandchild, if the block ends with an exception.

    What its children have started in turn gets SIGTERM; they see it end and put their own things in order, as DVC does
    with its locks. Children that start anew what has ended (`restarts`) get it as well. An actual Ctrl-C has reached
    all of them already, by the terminal: a second signal would meet them while they clean up. Who has not ended after
    a minute is killed.
    """
    import psutil  # here: most commands start no process

    try:
        yield
    except BaseException as error:
        ours = psutil.Process().children(recursive=True)
        if not isinstance(error, KeyboardInterrupt):
            waiting = set[int]() if restarts else {process.ppid() for process in ours}
            _send([each for each in ours if each.pid not in waiting or each.ppid() != os.getpid()], signal.SIGTERM)
        _, left = psutil.wait_procs(ours, _PATIENCE)
        _send(left, signal.SIGKILL)
        raise


def _send(processes: "Sequence[psutil.Process]", number: signal.Signals) -> None:
    import psutil

    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(number)
