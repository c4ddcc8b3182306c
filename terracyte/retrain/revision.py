"""Read an experiment's files from a commit or from the working tree, through one interface."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from terracyte.core import git
from terracyte.core.errors import InputError

Read = Callable[[Path], str | None]
"""Returns the text of an experiment's file, named as in `terracyte.core.paths`; None if it does not exist."""


def common_commit(base: str, folder: Path = Path()) -> str:
    """Return the merge base of `base` and HEAD: the commit (40 hex digits) at which their histories parted.

    Raises:
        InputError: git knows no such revision, the two share no commit, or `folder` lies in no repository.
    """
    found = git.run("merge-base", "--end-of-options", base, "HEAD", folder=folder)
    if found is None:
        advice = "fetch the revision (in CI: check out the whole history), or name another one with --base"
        raise InputError(f"git finds no commit that {base!r} and HEAD have in common: {advice}")
    return found.strip()


def at(commit: str, folder: Path = Path()) -> Read:
    """Return a reader of an experiment's files in `folder` at `commit`; it raises InputError if git cannot read one."""

    def read(path: Path) -> str | None:
        listed = git.run("ls-tree", commit, "--", path.as_posix(), folder=folder)
        if listed == "":
            return None
        # `./` makes git look from the folder in which it runs, not from the repository's root
        text = git.run("show", f"{commit}:./{path.as_posix()}", folder=folder) if listed else None
        if text is None:
            raise InputError(f"git cannot read {path} at {commit[:12]} (a partial clone?): fetch the whole history")
        return text

    return read


def working_tree(folder: Path = Path()) -> Read:
    """Return a reader of an experiment's files in `folder` on the disk."""

    def read(path: Path) -> str | None:
        file = folder / path
        return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else None

    return read


def parsed(read: Read, path: Path) -> Any:
    """Return the content of a JSON file; None where the file does not exist.

    Raises:
        InputError: the file is not valid JSON.
    """
    text = read(path)
    try:
        return None if text is None else json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is not valid JSON ({error}): make it again with `dvc repro`") from error
