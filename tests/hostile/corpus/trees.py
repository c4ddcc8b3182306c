"""Hostile folders of pictures: links, names, depths, and other things in place of pictures."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.hostile.corpus import pictures
from tests.hostile.corpus.writing import Build, written

_DEPTH = 1100  # beyond Python's recursion limit


def _grey(value: int, size: tuple[int, int] = (8, 8)) -> Image.Image:
    return Image.new("L", size, value)


def classes(root: Path, count: int = 2) -> None:
    """A sound folder for each of three classes."""
    for label, name in enumerate("abc"):
        (root / name).mkdir(parents=True)
        for number in range(count):
            _grey(60 * label + number).convert("RGB").save(root / name / f"{number}.png")


def masked(root: Path) -> None:
    """A sound pair of folders of images and masks."""
    values = np.tile(np.repeat(np.arange(3, dtype=np.uint8), 3), (6, 1))
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number in range(3):
        _grey(50 * number, (9, 6)).save(root / "images" / f"{number}.png")
        Image.fromarray(values).save(root / "masks" / f"{number}.png")


def _in(change: Callable[[Path], object], *folders: str) -> Build:
    """Return a builder of a sound folder with a change in some of its subfolders."""

    def build(path: Path) -> None:
        (masked if "images" in folders else classes)(path)
        for folder in folders:
            change(path / folder)

    return build


def _everywhere(change: Callable[[Path], object]) -> dict[str, Build]:
    """Return builders of two cases: the change in a class's folder, and in the folders of images and masks."""
    return {"class": _in(change, "a"), "masks": _in(change, "images", "masks")}


def _deep(folder: Path) -> None:
    before = Path.cwd()
    os.chdir(folder)
    try:
        for _ in range(_DEPTH):
            Path("d").mkdir()  # step by step: with `parents`, mkdir would recurse too deep
            os.chdir("d")
        _grey(1).save("deep.png")
    finally:
        os.chdir(before)


def _diamonds(folder: Path) -> None:
    """Make 24 folders, each with two links to the next: 2 ** 23 paths lead to the last one."""
    for number in range(24):
        (folder / f".d{number}").mkdir()
    for number in range(23):
        for name in ("x", "y"):
            (folder / f".d{number}" / name).symlink_to(f"../.d{number + 1}")
    (folder / "start").symlink_to(".d0")
    _grey(1).save(folder / ".d23" / "last.png")


def _loops(folder: Path) -> None:
    (folder / "up").symlink_to("..")
    (folder / "here").symlink_to(".")
    (folder / "me.png").symlink_to("me.png")


def _bytes_name(folder: Path) -> None:
    (folder / os.fsdecode(b"\xff\xfe.png")).write_bytes(pictures.saved(pictures.noise(), "PNG"))


def _named(*names: str) -> Callable[[Path], None]:
    def save(folder: Path) -> None:
        for name in names:
            _grey(3).save(folder / name, "PNG")

    return save


def _many(folder: Path) -> None:
    for number in range(2000):
        (folder / f"{number}.png").touch()


_CHANGES: dict[str, Callable[[Path], object]] = {
    "pipe": lambda folder: os.mkfifo(folder / "z.png"),
    "device": lambda folder: (folder / "z.png").symlink_to("/dev/zero"),
    "socket": lambda folder: _socket(folder / "z.png"),
    "folder-named-png": lambda folder: (folder / "z.png").mkdir(),
    "empty-file": lambda folder: (folder / "z.png").touch(),
    "loops": _loops,
    "diamonds": _diamonds,
    "name-no-text": _bytes_name,
    "name-with-line-break": _named("a\nb.png"),
    "name-with-escape": _named("\x1b[2J\x1b[31m.png"),
    "name-with-quotes": _named("'\",;\\.png"),
    "name-long": _named("n" * 250 + ".png"),
    "name-right-to-left": _named("\u202egnp.exe"),
    "name-two-ways": _named("e\u0301.png", "\u00e9.png"),
    "name-of-dots": _named("....png"),
    "name-like-an-option": _named("--help.png"),
    "hidden": _named(".hidden.png"),
    "video": lambda folder: written(b"\0\0\0\x18ftypmp42")(folder / "z.png"),
    "bomb": lambda folder: pictures.CASES["png-bomb-claimed"](folder / "z.png"),
    "archive": lambda folder: written(b"PK\x03\x04")(folder / "z.zip"),
    "forbidden": lambda folder: (folder / "f").mkdir(0),
}


def _socket(path: Path) -> None:
    import socket

    before = Path.cwd()
    os.chdir(path.parent)  # a socket's path may have 108 bytes at most
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(before)


def _changed(make: Callable[[Path], None], *changes: Callable[[Path], object]) -> Build:
    """Return a builder that makes a folder and applies changes to it."""

    def build(path: Path) -> None:
        make(path)
        for change in changes:
            change(path)

    return build


def _folders(*names: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        for name in names:
            (path / name).mkdir(parents=True)

    return make


def _mask(picture: Image.Image, kind: str = "PNG") -> Callable[[Path], None]:
    return lambda path: picture.save(path / "masks/0.png", kind)


CASES: dict[str, Build] = {
    "missing": lambda path: None,
    "empty": lambda path: path.mkdir(),
    "file-for-folder": written(b"a file"),
    "link-to-itself": lambda path: path.symlink_to(path.name),
    "sound-classes": classes,
    "sound-masks": masked,
    "both": _changed(classes, masked),
    "class-empty": _changed(classes, _folders("d")),
    "class-a-file": _changed(classes, lambda path: (path / "d").touch()),
    "class-twice": _changed(classes, _folders("A")),
    "class-no-text": _changed(classes, _folders(os.fsdecode(b"\xff"))),
    "class-with-escape": _changed(classes, _folders("\x1b[2J")),
    "splits-alone": _folders("train", "val"),
    "masks-missing": _changed(masked, lambda path: (path / "masks/0.png").unlink()),
    "masks-of-another-size": _changed(masked, _mask(_grey(0, (5, 5)))),
    "masks-in-colour": _changed(masked, _mask(pictures.noise("RGB", (9, 6)))),
    "masks-jpg": _changed(masked, _mask(_grey(0, (9, 6)), "JPEG")),
    "masks-of-photos": _changed(masked, _mask(pictures.noise("L", (9, 6)))),
    **{f"{where}-{name}": build for name, change in _CHANGES.items() for where, build in _everywhere(change).items()},
}

SLOW: dict[str, Build] = {
    **{f"{where}-deep": build for where, build in _everywhere(_deep).items()},
    **{f"{where}-empty-files": build for where, build in _everywhere(_many).items()},
}
