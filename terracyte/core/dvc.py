"""Run DVC as a separate process that waits for another running DVC instead of failing; outputs survive a failure.

DVC itself removes the declared outputs of a stage before it runs the stage.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import terracyte
from terracyte.core import dvc_files, paths, processes
from terracyte.core.errors import InputError

SITE_CACHE = "DVC_SITE_CACHE_DIR"


def run(*arguments: str, folder: Path = Path()) -> str:
    """Run a DVC command and return what it prints.

    Args:
        arguments: the command and its options, such as `"status", "--json"`.
        folder: the folder to run it in.

    Raises:
        InputError: the command failed; the message quotes the last line of DVC's output.
    """
    with subprocess.Popen(**_piped(arguments, folder), stderr=subprocess.PIPE) as process, processes.ending_children():
        said, complained = process.communicate()
    if process.returncode:
        raise _failure(arguments, complained.splitlines())
    return str(said)


def show(*arguments: str, folder: Path = Path()) -> None:
    """Run a DVC command and print its output and that of its stages as it appears.

    Args:
        arguments: the command and its options, such as `"repro", "evaluate"`.
        folder: the folder to run it in.

    Raises:
        InputError: the command failed; the message quotes the last line of DVC's output.
    """
    lines = []
    with (
        subprocess.Popen(**_piped(arguments, folder), stderr=subprocess.STDOUT) as process,
        processes.ending_children(),
    ):
        for line in process.stdout or ():
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        raise _failure(arguments, lines)


def succeeds(*arguments: str, folder: Path = Path(), variables: Mapping[str, str] | None = None) -> bool:
    """Run a DVC command on this terminal and return whether it succeeded; DVC itself prints any error.

    Args:
        arguments: the command and its options.
        folder: the folder to run it in.
        variables: environment variables to add to those of this process; None for none.
    """
    return processes.call(command(*arguments), folder, {**environment(folder), **(variables or {})}) == 0


@contextmanager
def keeping_outputs(folder: Path) -> Iterator[None]:
    """Restore the outputs that DVC has removed, if the block ends with an exception, including Ctrl-C.

    Cached outputs are checked out, and `metrics/`, which is not in DVC's cache, is restored from a copy. Files that a
    killed DVC has left half written are repaired first. Only one process at a time runs the block; the next one waits.

    Args:
        folder: the experiment's folder.
    """
    metrics, copy = folder / paths.METRICS, folder / paths.DATA / ".metrics"
    with processes.alone(folder / paths.DATA / ".running", f"another run of {folder.resolve()}"):
        dvc_files.mend(folder)
        metrics.mkdir(exist_ok=True)
        _bring_back(copy, metrics)  # the copy that a killed process has left
        shutil.copytree(metrics, copy)
        try:
            yield
        except BaseException:
            with _undisturbed():
                dvc_files.mend(folder)
                with suppress(InputError):  # an output that was never made cannot be checked out
                    run("checkout", "--quiet", "--allow-missing", "dvc.yaml", folder=folder)
                _bring_back(copy, metrics)
            raise
        shutil.rmtree(copy, ignore_errors=True)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ignore a second Ctrl-C; processes that are started within the block ignore it, too."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _bring_back(copy: Path, metrics: Path) -> None:
    """If there is a copy, move the files that only the copy holds into `metrics`, and remove the copy."""
    if copy.exists():
        shutil.copytree(copy, metrics, copy_function=_move_missing, dirs_exist_ok=True)
        shutil.rmtree(copy, ignore_errors=True)


def _move_missing(source: str, target: str) -> None:
    if not Path(target).exists():
        shutil.move(source, target)  # works on a full disk, too


def command(*arguments: str) -> list[str]:
    """Return the command line that runs DVC with these arguments."""
    return [sys.executable, "-m", "dvc", "--wait-for-lock", *arguments]


def environment(folder: Path = Path()) -> dict[str, str]:
    """Return the environment variables of a DVC process that runs in the folder."""
    # Stages call `python`: this is then this process's interpreter, whether its environment is activated or not.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    # Stages import this process's code, even where the package of another clone is installed.
    code = os.pathsep.join([str(Path(terracyte.__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")])
    own = {**_site_cache(folder), **os.environ}  # what the user has set stays
    return {**own, "PATH": path, "PYTHONPATH": code.removesuffix(os.pathsep)}


def _site_cache(folder: Path) -> dict[str, str]:
    """Return the variable that gives DVC a folder for what it remembers from run to run; only this user can enter it.

    DVC's own choice is /var/tmp/dvc, which all users of a machine may write to, and DVC unpickles what it finds there
    (CVE-2025-69872 of its dependency diskcache, of which no release is without it).
    """
    own = dvc_files.own_folder(folder)
    if own is None:  # `dvc init` is still to come
        return {}
    place = own / "tmp/site"
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    return {SITE_CACHE: str(place)}


def _piped(arguments: tuple[str, ...], folder: Path) -> dict[str, Any]:
    return {
        "args": command(*arguments),
        "cwd": folder,
        "stdin": subprocess.DEVNULL,  # a prompt would not be seen
        "env": {**environment(folder), "PYTHONIOENCODING": "utf-8"},
        "stdout": subprocess.PIPE,
        "text": True,
        "encoding": "utf-8",
        "errors": "replace",
    }


def _failure(arguments: tuple[str, ...], lines: list[str]) -> InputError:
    said = [line.strip() for line in lines if line.strip()]
    return InputError(f"`dvc {arguments[0]}` failed: {said[-1] if said else 'it printed no message'}")
