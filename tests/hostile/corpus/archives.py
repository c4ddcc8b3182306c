"""Hostile .npy and .npz files."""

import functools
import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.hostile.corpus.writing import Build, anywhere, written

Content = bytes | np.ndarray[Any, Any]


def npy(header: str | bytes, data: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    """An .npy file with any header."""
    text = header.encode("latin1") if isinstance(header, str) else header
    length = struct.pack("<H" if version == (1, 0) else "<I", len(text) & (0xFFFF if version == (1, 0) else 0xFFFFFFFF))
    return b"\x93NUMPY" + bytes(version) + length + text + data


def described(descr: str, shape: str, order: bool = False, data: bytes = b"") -> bytes:
    """Return an .npy file whose header has these values, in the form that NumPy writes."""
    return npy(f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n", data)


def array(values: np.ndarray[Any, Any]) -> bytes:
    """The .npy file of an array."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, values, allow_pickle=True)
    return stream.getvalue()


def npz(members: Mapping[str, Content], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return an .npz file of these members; bytes are stored as they are, arrays as .npy files."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content if isinstance(content, bytes) else array(content))
    return stream.getvalue()


@functools.cache
def _bomb(shape: tuple[int, ...], order: bool = False, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return an .npz file of zeros of that shape, hundreds of times smaller than its arrays."""
    stream, size = io.BytesIO(), int(np.prod(shape, dtype=object))
    with zipfile.ZipFile(stream, "w", compression, compresslevel=1) as archive:
        for key in ("images", "training_set"):
            with archive.open(f"{key}.npy", "w", force_zip64=True) as member:
                member.write(described("'|u1'", str(shape), order))
                for start in range(0, size, 2**24):
                    member.write(bytes(min(2**24, size - start)))
        archive.writestr("labels.npy", array(np.arange(shape[0]) % 3))
        archive.writestr("masks.npy", described("'|u1'", str(shape[:3]), order))
    return stream.getvalue()


_PIXELS = np.random.default_rng(0).integers(0, 256, (6, 48, 48, 3), dtype=np.uint8)
_GREY = np.random.default_rng(0).integers(0, 256, (6, 32, 64), dtype=np.uint8)
_LABELS = np.arange(6) % 3
_GROUPS = np.array(["Ada", "Bo", "Ada", "Cy", "Bo", "\u00c9a"])
_MASKS = np.tile(np.repeat(np.arange(3, dtype=np.uint8), 16), (6, 48, 1))


def whole(**changes: Content) -> dict[str, Content]:
    """Return sound members, some of them for each reader, with these changes."""
    sound: dict[str, Content] = {"images": _PIXELS, "labels": _LABELS, "masks": _MASKS, "groups": _GROUPS}
    sound |= {"training_set": np.stack([_GREY, _GREY % 3], axis=1), "test_set": _GREY}
    return {f"{name}.npy": content for name, content in (sound | changes).items()}


def without_masks(**changes: Content) -> dict[str, Content]:
    """Return sound members that `terracyte new` reads as images with labels, with these changes."""
    return {name: content for name, content in whole(**changes).items() if name != "masks.npy"}


def of_challenge() -> dict[str, Content]:
    """Return sound members in the challenge's layout of images with masks."""
    return {name: content for name, content in whole().items() if name.endswith("_set.npy")}


def _everywhere(content: Content) -> Callable[[], bytes]:
    """Return a function that makes an .npz file with the same array as images, labels, masks and all else."""
    return lambda: npz(dict.fromkeys(whole(), content))


def _images(content: Content) -> Callable[[], bytes]:
    return lambda: npz(whole(images=content, training_set=content))


def _labels(content: Content) -> Callable[[], bytes]:
    return lambda: npz(without_masks(labels=content))


def _groups(content: Content) -> Callable[[], bytes]:
    return lambda: npz(whole(groups=content))


def _masks(content: Content) -> Callable[[], bytes]:
    return lambda: npz(whole(masks=content))


def _deep(opening: str, closing: str) -> bytes:
    return npy("{'descr': '<u1', 'fortran_order': False, 'shape': " + opening * 4000 + closing * 4000 + "}")


def _object(values: Any) -> np.ndarray[Any, Any]:
    made = np.empty(1, object)
    made[0] = values
    return made


class _Touches:
    """An object whose pickle, when loaded, runs code that creates the file `pwned`."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("pwned"),)


HEADERS: dict[str, bytes] = {
    "absurd-shape": described("'|u1'", "(1000000000000, 1000000, 3)"),
    "absurd-image": described("'|u1'", "(1, 2000000, 2000000, 3)"),
    "absurd-number": described("'|u1'", f"({10**30},)"),
    "huge-integer": described("'|u1'", f"({'9' * 5000},)"),
    "negative-shape": described("'|u1'", "(-1, 48, 48, 3)", data=bytes(9000)),
    "negative-shapes": described("'|u1'", "(-2, -48, 48, 3)", data=bytes(9000)),
    "no-axes": described("'|u1'", "()", data=b"\1"),
    "many-axes": described("'|u1'", f"({'1, ' * 70})", data=b"\1"),
    "shape-of-floats": described("'|u1'", "(1.0, 2.0)"),
    "shape-of-truths": described("'|u1'", "(True, True)", data=b"\1"),
    "shape-a-text": described("'|u1'", "'(1,)'"),
    "of-python-2": described("'|u1'", "(6L, 48L, 48L, 3L)", data=bytes(6 * 48 * 48 * 3)),
    "of-odd-escapes": described("'\\\\d'", "(6,)", data=bytes(6)),
    "zero-length": described("'|u1'", "(0, 48, 48, 3)"),
    "zero-sizes": described("'|u1'", "(6, 0, 0, 3)"),
    "fortran": described("'|u1'", "(6, 48, 48, 3)", True, bytes(6 * 48 * 48 * 3)),
    "fortran-a-text": npy("{'descr': '<u1', 'fortran_order': 'no', 'shape': (1,)}", b"\1"),
    "big-endian": described("'>f8'", "(6, 48, 48, 3)", data=bytes(8 * 6 * 48 * 48 * 3)),
    "long-double": described("'<f16'", "(6,)", data=bytes(16 * 6)),
    "half": described("'<f2'", "(6, 48, 48, 3)", data=b"\xff" * (2 * 6 * 48 * 48 * 3)),
    "type-of-nothing": described("'|V0'", "(6,)"),
    "type-of-texts": described("'<U4'", "(6,)", data=bytes(96)),
    "type-of-dates": described("'<M8[s]'", "(6,)", data=bytes(48)),
    "type-complex": described("'<c16'", "(6,)", data=bytes(96)),
    "type-bool": described("'|b1'", "(6,)", data=bytes(6)),
    "type-absurd": described("'|V99999999999999'", "(6,)"),
    "type-unknown": described("'?!'", "(6,)"),
    "type-structured": described("[('a', '<f4'), ('b', '<f4', (1000, 1000, 1000))]", "(6,)"),
    "type-structured-deep": described("[('a', " * 300 + "'<f4'" + ")]" * 300, "(6,)"),
    "type-of-objects": described("'|O'", "(6,)", data=pickle.dumps([1] * 6)),
    "type-a-number": described("7", "(6,)"),
    "keys-missing": npy("{'descr': '<u1'}"),
    "keys-mixed": npy("{'descr': '<u1', 1: 2, 'shape': (1,)}"),
    "keys-of-lists": npy("{[]: 1}"),
    "no-mapping": npy("[1, 2]"),
    "a-call": npy("__import__('os').system('touch pwned')"),
    "syntax": npy("{'descr': '<u1', 'fortran_order': False, 'shape': (1,"),
    "quotes": npy("'''"),
    "indented": npy("  {\n 'descr'"),
    "nul": npy("{'descr': '\0'}"),
    "deep-lists": _deep("[", "]"),
    "deep-tuples": _deep("(", ",)"),
    "deep-minus": _deep("-", ""),
    "spaces-and-a-quote": npy("$" + " " * 9_900 + '"'),  # half a minute for Python's tokenizer
    "long-header": npy(" " * 60_000),
    "header-of-gigabytes": npy(b"{}", version=(2, 0)).replace(struct.pack("<I", 2), struct.pack("<I", 2**32 - 1)),
    "version-9": npy("{}", version=(9, 9)),
    "version-3-no-text": npy(b"\xff\xfe", version=(3, 0)),
    "cut-in-magic": b"\x93NUM",
    "cut-in-header": npy("{'descr': '<u1', 'fortran_order': False, 'shape': (1,)}")[:20],
    "cut-in-data": described("'|u1'", "(6, 48, 48, 3)", data=bytes(1000)),
    "more-data": described("'|u1'", "(6,)", data=bytes(1000)),
    "no-array": b"nothing of the kind",
}

_ARRAYS: dict[str, np.ndarray[Any, Any]] = {
    "objects": _object([1, 2]),
    "pickle-that-runs": _object(_Touches()),
    "nan": np.full((6, 48, 48, 3), np.nan),
    "infinite": np.full((6, 48, 48, 3), np.inf, np.float32),
    "beyond-255": np.full((6, 48, 48, 3), 1e300),
    "negative": np.full((6, 48, 48, 3), -1, np.int8),
    "largest-integers": np.full((6, 48, 48, 3), 2**64 - 1, np.uint64),
}


def _bit_flipped() -> bytes:
    content = bytearray(npz(whole(), zipfile.ZIP_STORED))
    content[500] ^= 1
    return bytes(content)


def _changed(old: bytes, new: bytes) -> Callable[[], bytes]:
    return lambda: npz(whole(), zipfile.ZIP_STORED).replace(old, new)


def _renamed() -> bytes:
    """Return an archive whose directory gives each member another name than the member's own header."""
    stream = io.BytesIO(npz(whole()))
    with zipfile.ZipFile(stream, "a") as archive:
        members = archive.infolist()
        names = archive.namelist()
        archive.writestr("note.txt", b"")  # makes it write the directory again
        for member, name in zip(members, names[1:] + names[:1], strict=False):
            member.filename = name
    return stream.getvalue()


def _twice() -> bytes:
    """Return an archive whose directory lists each member twice, with the same bytes."""
    stream = io.BytesIO(npz(whole()))
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr("note.txt", b"")  # makes it write the directory again
        archive.filelist += archive.filelist
    return stream.getvalue()


def _encrypted() -> bytes:
    content = bytearray(npz(whole(), zipfile.ZIP_STORED))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = 0
        while (start := content.find(mark, start)) >= 0:
            content[start + place] |= 1
            start += 4
    return bytes(content)


def _compressed_nonsense(kind: int) -> bytes:
    """Return an .npz file whose members claim a compression that their bytes do not have."""
    content = bytearray(npz(whole(), zipfile.ZIP_STORED))
    for mark, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        start = 0
        while (start := content.find(mark, start)) >= 0:
            content[start + place : start + place + 2] = struct.pack("<H", kind)
            start += 4
    return bytes(content)


def _many_members() -> bytes:
    return npz({f"{number}.npy": b"" for number in range(4000)} | whole(), zipfile.ZIP_STORED)


def _wrong_size() -> bytes:
    """Return an .npz file whose directory says that the images unpack to 3 GiB."""
    content = bytearray(npz(whole()))
    place = content.find(b"PK\x01\x02")
    content[place + 24 : place + 28] = struct.pack("<I", 3 * 2**30)
    return bytes(content)


NPZ: dict[str, Build] = {
    **anywhere(),
    "sound": written(lambda: npz(whole())),
    "sound-challenge": written(lambda: npz(of_challenge())),
    **{f"header-{name}": written(_everywhere(content)) for name, content in HEADERS.items()},
    **{f"images-{name}": written(_images(values)) for name, values in _ARRAYS.items()},
    **{
        f"labels-{name}": written(_labels(values[..., 0, 0, 0] if values.ndim > 1 else values))
        for name, values in _ARRAYS.items()
    },
    **{
        f"masks-{name}": written(_masks(values[..., 0] if values.ndim > 1 else values))
        for name, values in _ARRAYS.items()
    },
    **{
        f"groups-{name}": written(_groups(values[..., 0, 0, 0] if values.ndim > 1 else values))
        for name, values in _ARRAYS.items()
    },
    "groups-no-characters": written(_groups(described("'<U4'", "(6,)", data=b"\xff" * 96))),
    "groups-half-a-pair": written(_groups(described("'<U1'", "(6,)", data=b"\0\xd8\0\0" * 6))),
    "groups-without-length": written(_groups(described("'<U0'", "(6,)"))),
    "groups-of-megabytes": written(_groups(np.array(["x" * 1_000_000] * 6))),
    "groups-too-few": written(_groups(_GROUPS[:3])),
    "groups-of-bytes": written(_groups(_GROUPS[:5].astype("S4"))),
    "groups-in-a-table": written(_groups(np.tile(_GROUPS[:, None], 3))),
    "npy-named-npz": written(lambda: array(_PIXELS)),
    "pickle-named-npz": written(lambda: pickle.dumps({"images": _Touches()})),
    "cut": written(lambda: npz(whole())[:3000]),
    "cut-directory": written(lambda: npz(whole())[:-30]),
    "something-before": written(lambda: b"#!/bin/sh\n" * 99 + npz(whole())),
    "something-behind": written(lambda: npz(whole()) + bytes(70_000)),
    "no-members": written(lambda: npz({})),
    "names-without-npy": written(lambda: npz({"images": b"", "labels": b"", "training_set": b"", "test_set": b""})),
    "names-outside": written(lambda: npz({"../../images.npy": _PIXELS, "/etc/images.npy": _PIXELS, **whole()})),
    "names-of-surrogates": written(_changed(b"test_set", b"\xed\xa0\x80_set")),
    "names-with-nul": written(_changed(b"images.npy", b"ima\0es.npy")),
    "names-with-escape": written(lambda: npz({"\x1b[2Jimages.npy": _PIXELS, "labels.npy": _LABELS})),
    "names-with-escape-not-read": written(lambda: npz(whole() | {"\x1b[2J.npy": _LABELS})),
    "name-of-kilobytes": written(lambda: npz({"a" * 60_000 + "images.npy": _PIXELS, "labels.npy": _LABELS})),
    "member-renamed": written(_renamed),
    "members-twice": written(_twice),
    "members-in-thousands": written(_many_members),
    "size-told-wrong": written(_wrong_size),
    "checksum-wrong": written(_bit_flipped),
    "encrypted": written(_encrypted),
    "bzip2": written(lambda: npz(whole(), zipfile.ZIP_BZIP2)),
    "lzma": written(lambda: npz(whole(), zipfile.ZIP_LZMA)),
    **{
        f"compressed-nonsense-{kind}": written(functools.partial(_compressed_nonsense, kind))
        for kind in (1, 8, 9, 12, 14, 93)
    },
    "labels-too-few": written(_labels(_LABELS[:3])),
    "labels-in-millions": written(_labels(np.full(6, 1_234_567))),
    "masks-of-another-size": written(_masks(_MASKS[:, :5, :5])),
    "images-1-pixel": written(_images(np.zeros((6, 1, 1, 3), np.uint8))),
    "images-thin": written(_images(np.zeros((6, 1, 30_000, 3), np.uint8))),
    "images-7-channels": written(_images(np.zeros((6, 48, 48, 7), np.uint8))),
}
"""Archives that take less than a second to read; those that expand to gigabytes are in `SLOW`."""

SLOW: dict[str, Build] = {
    "bomb-of-images": written(functools.partial(_bomb, (20_000, 48, 48, 3))),
    "bomb-of-one-image": written(functools.partial(_bomb, (3, 8000, 8000, 3))),
    "bomb-of-labels": written(lambda: npz(whole(labels=np.zeros(10**8, np.uint16)))),
    "bomb-fortran": written(functools.partial(_bomb, (90_000, 48, 48, 3), order=True)),
    "bomb-bzip2": written(functools.partial(_bomb, (9000, 48, 48, 3), compression=zipfile.ZIP_BZIP2)),
    "bomb-lzma": written(functools.partial(_bomb, (9000, 48, 48, 3), compression=zipfile.ZIP_LZMA)),
}

NPY: dict[str, Build] = {
    **anywhere(),
    "sound": written(lambda: array(_PIXELS)),
    **{f"header-{name}": written(content) for name, content in HEADERS.items()},
    **{name: written(functools.partial(array, values)) for name, values in _ARRAYS.items()},
    "npz-named-npy": written(lambda: npz(whole())),
    "pickle-named-npy": written(lambda: pickle.dumps(_Touches())),
    "zlib-named-npy": written(zlib.compress(bytes(1000))),
}
