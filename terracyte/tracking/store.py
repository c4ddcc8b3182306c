"""Where MLflow keeps its record: a SQLite database of the project, or the server that MLFLOW_TRACKING_URI names."""

import fcntl
import importlib.metadata
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from terracyte.core import files, paths
from terracyte.core.errors import InputError

SERVER = "MLFLOW_TRACKING_URI"  # the variable by which users choose a store of their own

# Read by mlflow when it is imported, and by its server; what the user has set stays.
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # a server that does not answer is reported within seconds, not after the default of minutes
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    # its processes work for language models only
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}


def uri() -> str:
    """MLflow's tracking URI."""
    return os.environ.get(SERVER) or f"sqlite:///{_database().absolute()}"


def is_server() -> bool:
    """True where the user named a store of their own."""
    return bool(os.environ.get(SERVER))


def artifacts(task: str) -> str | None:
    """Where a task's artifacts lie; None leaves it to the user's server."""
    return None if is_server() else (paths.MLFLOW / "artifacts" / task).absolute().as_uri()


def quieten() -> None:
    """Set MLflow's environment; before it is imported."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)


def prepare() -> None:
    """Set MLflow's environment; make the project's database where it is missing or older than MLflow.

    Safe where several processes start at once: MLflow alone fails then. Takes about 10 s the first time.

    Raises:
        InputError: the database cannot be made or used.
    """
    quieten()
    if is_server():
        return
    prepared = paths.MLFLOW / "prepared"
    version = importlib.metadata.version("mlflow")
    with locked():
        if not _database().exists():
            with files.atomic(_database()) as temporary:
                _migrate(temporary)
        elif not prepared.exists() or prepared.read_text(encoding="utf-8") != version:
            _migrate(_database())
        _write_ahead(_database())
        files.write_text(prepared, version)


@contextmanager
def locked() -> Iterator[None]:
    """Let one process of this machine through at a time."""
    paths.MLFLOW.mkdir(parents=True, exist_ok=True)
    with (paths.MLFLOW / "lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _database() -> Path:
    return paths.MLFLOW / "mlflow.db"


def _migrate(database: Path) -> None:
    command = [sys.executable, "-m", "mlflow", "db", "upgrade", f"sqlite:///{database.absolute()}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        problem = result.stderr.strip().splitlines()[-1]
        raise InputError(f"{_database()} cannot be made or migrated ({problem}): delete {paths.MLFLOW}, it is rebuilt")


def _write_ahead(database: Path) -> None:
    """Let readers and a writer work at once; the mode is kept in the file."""
    try:
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.Error as error:
        raise InputError(f"{database} cannot be used ({error}): delete {paths.MLFLOW}, it is rebuilt") from error
