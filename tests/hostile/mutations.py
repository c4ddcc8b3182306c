"""Random changes of files: of their bytes, and of their content with valid checksums, lest all be rejected early."""

import io
import random
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from tests.hostile.corpus import CORPUS, archives, pictures
from tests.hostile.corpus.trees import classes, masked

_LARGEST_SEED = 300_000  # bytes; larger files of the corpus are not changed
_NUMBERS = (0, 1, 2, 7, 8, 127, 128, 255, 256, 32767, 32768, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
_TOKENS = {
    "yaml": "null true [] {} .nan .inf -1 1e999 !!int !!float !!set &a *a << ? - : | > % @ \\ \" ' # ~ 0x 0o 1_0 "
    "2001-01-01 seeds tasks sources override variants reference path like change classes",
    "sheet": 'file label split site , ; \t " "" \r \n \0 \ufeff .. / train test a.png nan',
    "json": 'null true false NaN Infinity -1 1e999 [] {} "" \\u0000 \\ud800 , : " [[[[ }',
}
_FORMS = (archives.whole, archives.without_masks, archives.of_challenge)
_EXTENSIONS = {"picture": ("PNG", "JPEG", "TIFF", "BMP", "WEBP")}

Content = bytes


def seeds(family: str, name: str) -> list[Content]:
    """Return the files from which changes start: the small ones of the corpus, and sound ones."""
    found = list(_sound(family))
    with tempfile.TemporaryDirectory() as folder:
        for number, build in enumerate(CORPUS[family].values()):
            path = Path(folder, str(number), name)
            path.parent.mkdir()
            build(path)
            if path.is_file() and path.stat().st_size <= _LARGEST_SEED:
                found.append(path.read_bytes())
    return [content for content in found if content]


def changed(family: str, known: list[Content], draw: random.Random) -> Content:
    """Return one of the known files with random changes."""
    if family == "npz" and draw.random() < 0.7:
        return _repacked(known, draw)
    content = bytearray(draw.choice(known))
    for _ in range(min(int(draw.expovariate(0.4)) + 1, 20)):
        if family in _TOKENS and draw.random() < 0.6:
            _insert_token(content, draw, _TOKENS[family].split(" "))
        else:
            draw.choice(_CHANGES)(content, draw)
        if draw.random() < 0.1:
            _splice(content, draw.choice(known), draw)
    if content[:4] == b"\x89PNG" and draw.random() < 0.8:
        return _checksums_renewed(bytes(content))
    return bytes(content)


def change_tree(root: Path, draw: random.Random, files: list[Content]) -> None:
    """Build a folder of the corpus, or a sound one, and replace some of its pictures by changed ones."""
    build = draw.choice([*CORPUS["tree"].values(), classes, classes, masked, masked])
    build(root)
    found = [path for path in root.rglob("*.png") if path.is_file()][:200] if root.is_dir() else []
    for path in draw.sample(found, min(len(found), draw.randint(0, 3))):
        path.unlink()
        path.write_bytes(changed("picture", files, draw))


def _sound(family: str) -> list[Content]:
    if family == "picture":
        small = [pictures.noise(mode, (9, 7)) for mode in ("L", "RGB")]
        made = [pictures.saved(each, kind) for each in small for kind in _EXTENSIONS["picture"]]
        made += [pictures.saved(small[1].convert("P"), kind) for kind in ("PNG", "BMP", "TIFF")]
        made += [pictures.saved(small[1], "TIFF", compression=each) for each in ("tiff_lzw", "packbits", "jpeg")]
        return [*made, pictures.saved(pictures.noise("RGBA", (9, 7)), "PNG")] * 3
    if family == "npz":
        return [archives.npz(form()) for form in _FORMS] * 10
    if family == "npy":
        return [archives.described("'|u1'", "(2, 48, 48, 3)", data=bytes(2 * 48 * 48 * 3))] * 20
    return []


def _repacked(known: list[Content], draw: random.Random) -> Content:
    """Return a valid .npz archive of changed members."""
    members, prefix = {}, draw.choice(("", "", "", "", "train_", "val_"))
    for name, content in draw.choice(_FORMS)().items():
        raw = content if isinstance(content, bytes) else archives.array(content)
        header = bytearray(raw[:256] if draw.random() < 0.5 else draw.choice(list(archives.HEADERS.values())))
        if draw.random() < 0.7:
            for _ in range(draw.randint(1, 4)):
                draw.choice(_CHANGES)(header, draw)
        if draw.random() < 0.9:
            members[f"{prefix}{name}"] = bytes(header) + raw[256:]
    return archives.npz(members, draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))


def _place(content: bytearray, draw: random.Random) -> int:
    """Return a random position, more often near the beginning, where the headers are."""
    end = len(content) if draw.random() < 0.5 else min(len(content), 400)
    return draw.randrange(end + 1)


def _flip(content: bytearray, draw: random.Random) -> None:
    if content:
        content[min(_place(content, draw), len(content) - 1)] ^= 1 << draw.randrange(8)


def _set_number(content: bytearray, draw: random.Random) -> None:
    width, place = draw.choice((1, 2, 4, 8)), _place(content, draw)
    order = draw.choice(("<", ">"))
    number = draw.choice(_NUMBERS) % 2 ** (8 * width)
    content[place : place + width] = struct.pack(order + {1: "B", 2: "H", 4: "I", 8: "Q"}[width], number)


def _cut(content: bytearray, draw: random.Random) -> None:
    place = _place(content, draw)
    del content[place : place + draw.choice((1, 1, 2, 4, 16, 1000, 10**6))]


def _repeat(content: bytearray, draw: random.Random) -> None:
    place, length = _place(content, draw), draw.choice((1, 4, 16, 100))
    content[place:place] = content[place : place + length] * draw.choice((1, 1, 3, 100))


def _insert(content: bytearray, draw: random.Random) -> None:
    content[(place := _place(content, draw)) : place] = draw.randbytes(draw.choice((1, 2, 8, 64)))


def _digits(content: bytearray, draw: random.Random) -> None:
    """Replace a digit by another number, a truth value, None or nothing."""
    digits = [place for place, each in enumerate(content[:2000]) if 48 <= each <= 57]
    if digits:
        place = draw.choice(digits)
        content[place : place + 1] = draw.choice((b"-1", b"0", b"9" * 30, b"1e9", b"1.5", b"True", b"None", b"", b"7"))


_CHANGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    *(_flip, _set_number, _set_number, _cut, _repeat, _insert, _digits),
)


def _insert_token(content: bytearray, draw: random.Random, tokens: list[str]) -> None:
    place = draw.randrange(len(content) + 1)
    if draw.random() < 0.5:  # replace the rest of a word
        end = place
        while end < len(content) and chr(content[end]).isalnum():
            end += 1
        content[place:end] = draw.choice(tokens).encode()
    else:
        content[place:place] = draw.choice((" ", "", "\n")).encode() + draw.choice(tokens).encode()


def _splice(content: bytearray, other: Content, draw: random.Random) -> None:
    start = draw.randrange(len(other) + 1)
    content[_place(content, draw) :] = other[start : start + 100_000]


def _checksums_renewed(content: bytes) -> bytes:
    """Return the PNG with the checksums of its chunks recomputed."""
    stream, made = io.BytesIO(content[8:]), [content[:8]]
    while len(head := stream.read(8)) == 8:
        length = struct.unpack(">I", head[:4])[0]
        body = stream.read(min(length, len(content)))
        stream.read(4)
        made.append(head + body + struct.pack(">I", zlib.crc32(head[4:] + body)))
    return b"".join(made)
