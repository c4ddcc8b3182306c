"""Run git, and describe the state of the working tree for records of runs."""

import subprocess
from pathlib import Path


def run(*arguments: str, folder: Path = Path()) -> str | None:
    """Run a git command in `folder` and return what it prints; None if it fails, such as outside a repository."""
    command = ["git", *arguments]
    try:
        result = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, encoding="utf-8", errors="replace", check=False
        )
    except FileNotFoundError:  # git is not installed
        return None
    return None if result.returncode else result.stdout


def tags() -> dict[str, str]:
    """`git_commit` (40 hex digits, or `unknown` outside a repository) and `git_dirty` (tracked files differ: true)."""
    commit = (run("rev-parse", "HEAD") or "unknown").strip()
    return {"git_commit": commit, "git_dirty": str(bool(run("status", "--porcelain", "--untracked-files=no"))).lower()}
