"""How cases are declared in all families."""

import os
from collections.abc import Callable
from pathlib import Path

Build = Callable[[Path], None]
"""Writes a hostile file or folder to a path at which nothing lies."""


def written(content: bytes | Callable[[], bytes]) -> Build:
    """Return a builder of a file of these bytes; a function is called only when the file is written."""

    def build(path: Path) -> None:
        path.write_bytes(content if isinstance(content, bytes) else content())

    return build


def anywhere() -> dict[str, Build]:
    """Return cases that may take the place of any file."""
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
