"""The state of the working tree, for records of runs."""

import subprocess

from terracyte.core.errors import InputError

_CODE = ("terracyte", "stages", "dvc.yaml", "pyproject.toml", "requirements.lock")


def tags() -> dict[str, str]:
    """`git_commit` (40 hex digits, or `unknown` outside a repository) and `git_dirty` (tracked files differ: true)."""
    changes = _git("status", "--porcelain", "--untracked-files=no")
    return {"git_commit": _git("rev-parse", "HEAD") or "unknown", "git_dirty": str(bool(changes)).lower()}


def of_code() -> str:
    """The commit, 12 hex digits, whose code lies in the working tree; parameters and results may differ from it.

    Raises:
        InputError: code differs from its commit, or this is no repository.
    """
    differing = _git("status", "--porcelain", "--", *_CODE).splitlines()
    if differing:
        raise InputError(f"{differing[0].split()[-1]} differs from its commit: commit the code that trained the rows")
    found = _git("rev-parse", "--short=12", "HEAD")
    if not found:
        raise InputError("git names no commit here: rows on real data belong to one")
    return found


def _git(*arguments: str) -> str:
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
