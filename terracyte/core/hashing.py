"""Checksums of values, files and code."""

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

TRAINING = ("images", "metrics", "models", "tasks", "train")  # the packages that determine a training's result


def digest(value: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of `value`, 64 hex digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def file_hash(*files: Path) -> str:
    """SHA-256 over the bytes of files, in the given order, 64 hex digits."""
    total = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            hashlib.file_digest(stream, lambda: total)
    return total.hexdigest()


def checksum(file: Path, algorithm: Literal["md5", "sha256"]) -> str:
    """Return a file's checksum in hex digits. It detects damage and is no signature, so MD5 suffices."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


@functools.cache
def code_hash(*packages: str) -> str:
    """SHA-256 over the code of packages of terracyte, 12 hex digits: a version that changes only with this code.

    The result is cached: edits after the first call are not part of the code that this process runs.

    Args:
        packages: names of the packages, such as `train`; the order does not matter.
    """
    root = Path(__file__).parents[1]
    code = sorted(path for name in packages for path in (root / name).rglob("*") if path.suffix in (".py", ".j2"))
    total = hashlib.sha256()
    for path in code:
        total.update(f"{path.relative_to(root).as_posix()}\n".encode() + path.read_bytes())
    return total.hexdigest()[:12]
