"""MLflow's tracking store: a SQLite database of the project, or the store that MLFLOW_TRACKING_URI names."""

import fcntl
import importlib.metadata
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO

import psutil

from terracyte.core import files, paths
from terracyte.core.errors import InputError

SERVER = "MLFLOW_TRACKING_URI"  # environment variable by which users choose their own store

_LONGEST_WAIT = 120  # seconds to wait for a locked database
_SILENT_WAIT = 5  # the first of these seconds, before the user is told


def uri() -> str:
    """Return MLflow's tracking URI."""
    return os.environ.get(SERVER) or _address(database())


def _address(file: Path) -> str:
    """Return a database file's SQLAlchemy URL, in which `%` and `?` are escaped, as they have a meaning there."""
    return f"sqlite:///{file.resolve()}".replace("%", "%25").replace("?", "%3F")


def is_server() -> bool:
    """Return whether the user named their own store."""
    return bool(os.environ.get(SERVER))


def database() -> Path:
    """Return the path of the project's own database."""
    return paths.mlflow() / "mlflow.db"


def experiment_name(task: str) -> str:
    """Return the name of a task's MLflow experiment: `blood` in the project's root, `real/blood` in folder `real`."""
    return (paths.experiment() / task).as_posix()


def model_name(task: str) -> str:
    """Return the name of a task's registered model, such as `terracyte-real-blood`; MLflow refuses slashes in it."""
    return "-".join(("terracyte", *paths.experiment().parts, task))


def artifacts(experiment: str) -> str | None:
    """Return the URI of an experiment's artifacts; None leaves the choice to the user's server."""
    return None if is_server() else (paths.mlflow() / "artifacts" / experiment).resolve().as_uri()


def prepare() -> None:
    """Create the project's database, or migrate it if another version of MLflow made it; wait while it is in use.

    Safe if several processes start at once, where MLflow by itself fails. Takes about 10 s the first time.

    Raises:
        InputError: the database cannot be created, migrated or used.
    """
    if is_server():
        return
    prepared = paths.mlflow() / "prepared"
    version = importlib.metadata.version("mlflow")
    with locked():
        if not database().exists():
            with files.atomic(database()) as temporary:
                _migrate(temporary)
            files.write_text(prepared, version)
        _wait_until_writable()
        if not prepared.exists() or prepared.read_bytes() != version.encode():
            _migrate(database())
            files.write_text(prepared, version)


@contextmanager
def locked() -> Iterator[None]:
    """Let only one process of this machine at a time run the block."""
    paths.mlflow().mkdir(parents=True, exist_ok=True)
    file = paths.mlflow() / "lock"
    with file.open("w") as stream:
        if not _lock_within(stream, _SILENT_WAIT):
            print(f"waiting for MLflow's record, which {_users(file)} is writing", file=sys.stderr, flush=True)
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _lock_within(stream: IO[str], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > end:
                return False
        time.sleep(0.05)


def advice() -> str:
    """Return what to do about an unusable store; none of the steps loses a record."""
    if is_server():
        return f"start the server, correct the address (docs/team.md), or unset {SERVER}"
    return f"check whether the disk is full; if the database is damaged, rename {database()}: a new one is made"


def in_use() -> InputError:
    """Return the error for a database that another process has locked for too long."""
    return InputError(
        f"MLflow's database {database()} is locked by {_users(database())}: end it or wait, then run this again"
    )


def _migrate(file: Path) -> None:
    command = [sys.executable, "-m", "mlflow", "db", "upgrade", _address(file)]
    result = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if result.returncode:
        # the error message ends where SQLAlchemy links an explanation
        said = result.stderr.partition("(Background on this error")[0].strip().splitlines()
        problem = said[-1] if said else f"exit code {result.returncode}, no message"
        raise InputError(f"{database()} cannot be created or migrated ({problem}): {advice()}")


def _wait_until_writable() -> None:
    """Wait for other writers, then set WAL mode (kept in the file), in which readers and a writer work concurrently."""
    try:
        with closing(sqlite3.connect(database(), timeout=_SILENT_WAIT, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if not is_busy(error):
                    raise
                print(
                    f"waiting for MLflow's database {database()}, locked by {_users(database())}",
                    file=sys.stderr,
                    flush=True,
                )
                connection.execute(f"PRAGMA busy_timeout = {1000 * (_LONGEST_WAIT - _SILENT_WAIT):.0f}")
                connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
            connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.Error as error:
        if is_busy(error):
            raise in_use() from error
        raise InputError(f"{database()} cannot be used ({error}): {advice()}") from error


def is_busy(error: Exception) -> bool:
    """Return whether the error means that another process has locked the database."""
    return "database is locked" in str(error)


def _users(file: Path) -> str:
    """Name the other processes that have the file open, which include the one that has locked it."""
    wanted, found = str(file.resolve()), []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid != os.getpid() and any(file.path == wanted for file in process.open_files()):
                found.append(f"process {process.pid} ({' '.join(process.cmdline())[:80]})")
    return " or ".join(found) or "another process"
