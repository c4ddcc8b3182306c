"""DVC, as a process of its own: it waits for another DVC at work instead of failing, and its outputs outlive a failure.

DVC removes what a stage declares before it runs the stage.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import terracyte
from terracyte.core import dvc_files, paths, processes
from terracyte.core.errors import InputError


def run(*arguments: str, folder: Path = Path()) -> str:
    """What a DVC command prints.

    Args:
        arguments: the command and its options, such as `"status", "--json"`.
        folder: where it runs.

    Raises:
        InputError: it failed; with the last line that DVC said.
    """
    with subprocess.Popen(**_piped(arguments, folder), stderr=subprocess.PIPE) as process, processes.ending_children():
        said, complained = process.communicate()
    if process.returncode:
        raise _failure(arguments, complained.splitlines())
    return str(said)


def show(*arguments: str, folder: Path = Path()) -> None:
    """Run a DVC command and print what it and its stages say, while they say it.

    Args:
        arguments: the command and its options, such as `"repro", "evaluate"`.
        folder: where it runs.

    Raises:
        InputError: it failed; with the last line that DVC said.
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


def succeeds(*arguments: str, folder: Path = Path(), variables: Mapping[str, str] = MappingProxyType({})) -> bool:
    """Run a DVC command on this terminal; whether it succeeded. What was wrong DVC has said.

    Args:
        arguments: the command and its options.
        folder: where it runs.
        variables: of the environment, beside this process's.
    """
    return processes.call(command(*arguments), folder, {**environment(), **variables}) == 0


@contextmanager
def keeping_outputs(folder: Path) -> Iterator[None]:
    """Bring back what DVC has removed in vain, if the block ends with an exception, Ctrl-C among them.

    Cached outputs are checked out, and `metrics/`, of which DVC's cache holds nothing, comes from a copy. What a killed
    DVC has left half written is mended first. One process at a time has such a copy; the next one waits.

    Args:
        folder: of the experiment.
    """
    metrics, copy = folder / paths.METRICS, folder / paths.DATA / ".metrics"
    with processes.alone(folder / paths.DATA / ".running", f"another run of {folder.resolve()}"):
        dvc_files.mend(folder)
        metrics.mkdir(exist_ok=True)
        _bring_back(copy, metrics)  # what a killed process has left
        shutil.copytree(metrics, copy)
        try:
            yield
        except BaseException:
            with _undisturbed():
                dvc_files.mend(folder)
                with suppress(InputError):  # what was never made cannot come back
                    run("checkout", "--quiet", "--allow-missing", "dvc.yaml", folder=folder)
                _bring_back(copy, metrics)
            raise
        shutil.rmtree(copy, ignore_errors=True)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Pass over a second Ctrl-C; processes that are started within do so, too."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _bring_back(copy: Path, metrics: Path) -> None:
    """Move into `metrics` what only the copy holds, if there is one, and remove the copy."""
    if copy.exists():
        shutil.copytree(copy, metrics, copy_function=_move_missing, dirs_exist_ok=True)
        shutil.rmtree(copy, ignore_errors=True)


def _move_missing(source: str, target: str) -> None:
    if not Path(target).exists():
        shutil.move(source, target)  # which a full disk allows


def command(*arguments: str) -> list[str]:
    """The command of a process that is DVC."""
    return [sys.executable, "-m", "dvc", "--wait-for-lock", *arguments]


def environment() -> dict[str, str]:
    """The variables of such a process."""
    # Stages call `python`: the one that runs this, whether its environment is activated or not.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    # They import the code that runs this, even where another clone's is installed.
    code = os.pathsep.join([str(Path(terracyte.__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PATH": path, "PYTHONPATH": code.removesuffix(os.pathsep)}


def _piped(arguments: tuple[str, ...], folder: Path) -> dict[str, Any]:
    return {
        "args": command(*arguments),
        "cwd": folder,
        "stdin": subprocess.DEVNULL,  # a question would not be seen
        "env": {**environment(), "PYTHONIOENCODING": "utf-8"},
        "stdout": subprocess.PIPE,
        "text": True,
        "encoding": "utf-8",
        "errors": "replace",
    }


def _failure(arguments: tuple[str, ...], lines: list[str]) -> InputError:
    said = [line.strip() for line in lines if line.strip()]
    return InputError(f"`dvc {arguments[0]}` failed: {said[-1] if said else 'it said nothing'}")
