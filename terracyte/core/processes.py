"""Run child processes that do not outlive this one, and make processes of this machine wait for each other."""

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

_PATIENCE = 60  # seconds that a process has for cleaning up before it is killed


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
        folder: the folder to run it in.
        environment: its environment variables; None for those of this process.
        restarts: see `ending_children`.
    """
    with subprocess.Popen(command, cwd=folder, env=environment) as process, ending_children(restarts=restarts):
        return process.wait()


@contextmanager
def alone(lock: Path, other: str) -> Iterator[None]:
    """Let only one process of this machine at a time run the block; the lock is released however the process ends.

    Args:
        lock: the lock file, which is created and never removed.
        other: what a second process waits for, in words for its message.
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
    """End all descendants of this process if the block ends with an exception.

    SIGTERM goes to all but those children that have children of their own: they see these end and then clean up, as DVC
    does with its locks. Children that restart what has ended (`restarts`) get SIGTERM as well. A Ctrl-C has reached all
    descendants already, through the terminal: a second signal would interrupt their clean-up. Processes that have not
    ended after a minute are killed.
    """
    import psutil  # imported here: most commands start no process

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
