"""The files and folders below a folder of pictures, and how messages name them."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from terracyte.core.errors import InputError, one_line

_SHOWN = 5
_UNASKED = (".", "__macosx", "thumbs.db", "desktop.ini")  # beginnings of names


def visible(folder: Path) -> list[Path]:
    """Return a folder's entries by name, without hidden ones and what Windows and zips from a Mac put there unasked.

    Raises:
        InputError: a name is not UTF-8, the encoding of all tables, or the folder cannot be listed.
    """
    try:
        entries = sorted(path for path in folder.iterdir() if not path.name.lower().startswith(_UNASKED))
    except OSError as error:
        raise InputError(f"{folder} cannot be listed: {error.strerror}") from error
    for path in entries:
        check_name(path)
    return entries


def check_name(path: Path) -> None:
    """Refuse a name that no table can hold.

    Raises:
        InputError: the name is not UTF-8.
    """
    try:
        path.name.encode()
    except UnicodeEncodeError as error:
        name = path.name.encode(errors="backslashreplace").decode()
        raise InputError(f"{path.parent} holds '{name}', whose name is not UTF-8: rename it") from error


def walk(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, in the order of their paths, without hidden ones.

    Links are followed, and each folder is read once, however many links lead to it: links may form cycles, or
    millions of paths to a few folders. Memory grows with the number of folders and with the largest one.

    Raises:
        InputError: see `visible`.
    """
    read: set[tuple[int, int]] = set()

    def entries(inner: Path) -> list[Path]:
        status = inner.stat()
        place = status.st_dev, status.st_ino
        if place in read:
            return []
        read.add(place)
        return visible(inner)

    # no recursion: folders may be nested deeper than functions
    waiting = [iter(entries(folder))]
    while waiting:
        path = next(waiting[-1], None)
        if path is None:
            waiting.pop()
        elif path.is_dir():
            waiting.append(iter(entries(path)))
        else:
            yield path


def linked(root: Path) -> list[str]:
    """Return the links to folders below `root`, relative to `root`."""
    return sorted(os.path.relpath(each, root) for each in below(root) if each.is_symlink() and each.is_dir())


def hidden(root: Path) -> list[str]:
    """Return the hidden files and folders below `root`, relative to `root`."""
    return sorted(os.path.relpath(each, root) for each in below(root) if each.name.startswith("."))


def below(root: Path) -> Iterator[os.DirEntry[str]]:
    """Yield all files and folders below a folder; links are not followed."""
    waiting = [str(root)]  # no recursion: folders may be nested deeper than functions
    while waiting:
        with contextlib.suppress(PermissionError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)


def shown(names: list[str]) -> str:
    """Join the first names of a list, for messages."""
    return one_line(", ".join(names[:_SHOWN])) + (" …" if len(names) > _SHOWN else "")
