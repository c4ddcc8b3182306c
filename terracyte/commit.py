"""The state of the working tree, for records of runs."""

import subprocess


def tags() -> dict[str, str]:
    """`git_commit` (40 hex digits, or `unknown` outside a repository) and `git_dirty` (tracked files differ: true)."""
    changes = _git("status", "--porcelain", "--untracked-files=no")
    return {"git_commit": _git("rev-parse", "HEAD") or "unknown", "git_dirty": str(bool(changes)).lower()}


def _git(*arguments: str) -> str:
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
