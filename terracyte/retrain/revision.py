"""Files of a commit, and of the working tree, read in the same way."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from terracyte.core.errors import InputError

Read = Callable[[Path], str | None]
"""The text of a project file; None where it does not exist."""


def common_commit(base: str) -> str:
    """The commit (40 hex digits) at which the working tree's history left that of `base`.

    Raises:
        InputError: git knows no such revision, the two share no commit, or this is no repository.
    """
    for command in (["rev-parse", "--verify", "--quiet", f"{base}^{{commit}}"], ["merge-base", base, "HEAD"]):
        result = _git(*command)
        if result.returncode:
            advice = "fetch it (in CI: check out with the whole history), or name another one with --base"
            raise InputError(f"git finds no commit that {base!r} and HEAD share: {advice}")
    return result.stdout.strip()


def at(commit: str) -> Read:
    """The files as `commit` holds them."""

    def read(path: Path) -> str | None:
        result = _git("show", f"{commit}:{path.as_posix()}")
        return None if result.returncode else result.stdout

    return read


def working_tree(path: Path) -> str | None:
    """The file as it lies on the disk."""
    return path.read_text(encoding="utf-8") if path.is_file() else None


def parsed(read: Read, path: Path) -> Any:
    """The content of a JSON file; None where there is none.

    Raises:
        InputError: it is no JSON.
    """
    text = read(path)
    try:
        return None if text is None else json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is no JSON ({error}): make it again with `dvc repro`") from error


def _git(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
