"""DVC, as a process of its own: it waits for another DVC at work instead of failing."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from terracyte.core.errors import InputError


def run(*arguments: str, folder: Path = Path()) -> str:
    """What a DVC command prints.

    Args:
        arguments: the command and its options, such as `"status", "--json"`.
        folder: where it runs.

    Raises:
        InputError: it failed; with the last line that DVC said.
    """
    result = subprocess.run(**_process(arguments, folder), stderr=subprocess.PIPE, check=False)
    if result.returncode:
        raise _failure(arguments, result.stderr.splitlines())
    return str(result.stdout)


def show(*arguments: str, folder: Path = Path()) -> None:
    """Run a DVC command and print what it and its stages say, while they say it.

    Args:
        arguments: the command and its options, such as `"repro", "evaluate"`.
        folder: where it runs.

    Raises:
        InputError: it failed; with the last line that DVC said.
    """
    lines = []
    with subprocess.Popen(**_process(arguments, folder), stderr=subprocess.STDOUT) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        raise _failure(arguments, lines)


def _process(arguments: tuple[str, ...], folder: Path) -> dict[str, Any]:
    # Stages call `python`: the one that runs this, whether its environment is activated or not.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {
        "args": [sys.executable, "-m", "dvc", "--wait-for-lock", *arguments],
        "cwd": folder,
        "env": {**os.environ, "PATH": path},
        "stdout": subprocess.PIPE,
        "text": True,
        "encoding": "utf-8",
    }


def _failure(arguments: tuple[str, ...], lines: list[str]) -> InputError:
    said = [line.strip() for line in lines if line.strip()]
    return InputError(f"`dvc {arguments[0]}` failed: {said[-1] if said else 'it said nothing'}")
