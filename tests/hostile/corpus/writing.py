"""What the families share: how a case is declared."""

import os
from collections.abc import Callable
from pathlib import Path

Build = Callable[[Path], None]
"""Writes a hostile file or folder to a path at which nothing lies."""


def written(content: bytes | Callable[[], bytes]) -> Build:
    """A file of these bytes, which are made when they are needed."""

    def build(path: Path) -> None:
        path.write_bytes(content if isinstance(content, bytes) else content())

    return build


def anywhere() -> dict[str, Build]:
    """What may lie in the place of any file."""
    return {
        "empty": written(b""),
        "folder-for-file": lambda path: path.mkdir(),
        "dangling-link": lambda path: path.symlink_to("nowhere"),
        "link-to-itself": lambda path: path.symlink_to(path.name),
        "pipe": lambda path: os.mkfifo(path),
        "noise": written(bytes(number * 73 % 251 for number in range(4000))),
        "zeros": written(bytes(4000)),
        "text": written(b"<html>404 not found</html>\n"),
    }
