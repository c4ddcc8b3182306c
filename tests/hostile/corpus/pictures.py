"""Hostile pictures."""

import functools
import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from tests.hostile.corpus.writing import Build, anywhere, written

_EDGE = 48
_ORIENTATION = 0x0112


def noise(mode: str = "RGB", size: tuple[int, int] = (_EDGE, _EDGE)) -> Image.Image:
    """A picture of random pixels."""
    channels = len(Image.new(mode, (1, 1)).getbands())
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], channels), dtype=np.uint8)
    return Image.fromarray(values[..., 0] if channels == 1 else values, mode if channels > 1 else "L")


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    """Return the content of a picture's file."""
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG, with its checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *chunks: bytes, bits: int = 8, colour: int = 0) -> bytes:
    """Return a PNG that claims a size, whatever pixels its chunks hold."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def _bomb(width: int, height: int, channels: int = 1, colour: int = 0) -> bytes:
    """Return a valid PNG of zeros, a thousand times smaller than its pixels."""
    packer, row = zlib.compressobj(9), bytes(width * channels + 1)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    return png(width, height, chunk(b"IDAT", packed), colour=colour)


def _with_exif(tag: int, kind: int, count: int, value: bytes) -> bytes:
    """A JPEG whose EXIF has one entry."""
    entry = struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")[:4]
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 0)
    return saved(noise(), "JPEG", exif=exif)


def _tiff(*entries: tuple[int, int, int, int], data: bytes = b"", big: bool = False) -> bytes:
    """Return a TIFF with one directory, whose entries are (tag, type, count, value)."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = struct.pack("<2sHI", b"II", 43 if big else 42, 8)
    return head + struct.pack("<H", len(entries)) + body + struct.pack("<I", 0) + data


def _tiff_of(width: int, height: int, **changes: tuple[int, int, int]) -> bytes:
    """An uncompressed grey TIFF whose entries may be changed: name=(type, count, value)."""
    names = {"bits": 258, "compression": 259, "photometric": 262, "offsets": 273, "samples": 277, "rows": 278}
    names |= {"counts": 279, "orientation": 274, "format": 339, "tile": 322}
    plain = {"bits": (3, 1, 8), "compression": (3, 1, 1), "photometric": (3, 1, 1), "offsets": (4, 1, 200)}
    plain |= {"samples": (3, 1, 1), "rows": (4, 1, height), "counts": (4, 1, width * height % 2**32)}
    entries = sorted((names[name], *entry) for name, entry in (plain | changes).items())
    return _tiff((256, 4, 1, width), (257, 4, 1, height), *entries, data=bytes(4000))


def _pages(kind: str, count: int = 50) -> bytes:
    picture = noise()
    return saved(picture, kind, save_all=True, append_images=[noise() for _ in range(count)])


def _cut(kind: str, share: float) -> Callable[[], bytes]:
    return lambda: (content := saved(noise(), kind))[: int(len(content) * share)]


def _palette_without_colours() -> bytes:
    return png(_EDGE, _EDGE, chunk(b"IDAT", zlib.compress(bytes(_EDGE * (_EDGE + 1)))), colour=3)


def _text_bomb() -> bytes:
    packed = zlib.compress(bytes(2**23), 9)
    text = chunk(b"zTXt", b"Comment\0\0" + packed)
    return png(_EDGE, _EDGE, text, chunk(b"IDAT", zlib.compress(bytes(_EDGE * (_EDGE + 1)))))


def _of_16_bits() -> bytes:
    return saved(Image.fromarray(np.full((_EDGE, _EDGE), 40_000, np.uint16)), "PNG")


def _floats(value: float) -> Callable[[], bytes]:
    return lambda: saved(Image.fromarray(np.full((_EDGE, _EDGE), value, np.float32)), "TIFF")


CASES: dict[str, Build] = {
    **anywhere(),
    "sound": written(lambda: saved(noise(), "PNG")),
    "sound-mask": written(lambda: saved(Image.fromarray(np.eye(_EDGE, dtype=np.uint8)), "PNG")),
    "sound-mask-in-colours": written(lambda: saved(Image.new("RGB", (_EDGE, _EDGE), (220, 20, 60)), "PNG")),
    "png-absurd-size": written(png(2**31 - 1, 2**31 - 1)),
    "png-zero-size": written(png(0, 0)),
    "png-no-pixels": written(png(_EDGE, _EDGE)),
    "png-thin": written(lambda: _bomb(1, 60_000)),
    "png-bomb-claimed": written(png(13_000, 13_000, chunk(b"IDAT", zlib.compress(bytes(100))))),
    "png-bad-checksum": written(lambda: saved(noise(), "PNG")[:-20] + bytes(20)),
    "png-cut": written(_cut("PNG", 0.5)),
    "png-cut-in-header": written(lambda: saved(noise(), "PNG")[:20]),
    "png-palette-without-colours": written(_palette_without_colours),
    "png-text-bomb": written(_text_bomb),
    "png-interlaced-nonsense": written(png(_EDGE, _EDGE, chunk(b"IDAT", b"nonsense"))),
    "png-unknown-colour-type": written(png(_EDGE, _EDGE, chunk(b"IDAT", zlib.compress(bytes(9999))), colour=5)),
    "png-1-bit": written(lambda: saved(noise("L").convert("1"), "PNG")),
    "png-16-bits": written(_of_16_bits),
    "png-of-frames": written(functools.partial(_pages, "PNG")),
    "png-transparent": written(lambda: saved(noise("RGBA"), "PNG")),
    "png-bad-profile": written(lambda: saved(noise(), "PNG", icc_profile=b"nonsense")),
    "jpeg-cut": written(_cut("JPEG", 0.6)),
    "jpeg-cut-in-header": written(_cut("JPEG", 0.05)),
    "jpeg-cmyk": written(lambda: saved(noise("CMYK"), "JPEG")),
    "jpeg-named-png": written(lambda: saved(noise(), "JPEG")),
    "jpeg-end-missing": written(lambda: saved(noise(), "JPEG")[:-2]),
    "jpeg-size-changed": written(
        lambda: _changed(saved(noise(), "JPEG"), b"\x08\x000\x000\x03", b"\x08\xff\xff\xff\xff\x03")
    ),
    "exif-orientation-0": written(lambda: _with_exif(_ORIENTATION, 3, 1, b"\0\0")),
    "exif-orientation-9": written(lambda: _with_exif(_ORIENTATION, 3, 1, b"\x09\0")),
    "exif-orientation-text": written(lambda: _with_exif(_ORIENTATION, 2, 4, b"abc\0")),
    "exif-orientation-list": written(lambda: _with_exif(_ORIENTATION, 3, 2, b"\x06\0\x06\0")),
    "exif-orientation-fraction": written(lambda: _with_exif(_ORIENTATION, 5, 1, b"\x08\0\0\0")),
    "exif-orientation-float": written(lambda: _with_exif(_ORIENTATION, 11, 1, struct.pack("<f", float("nan")))),
    "exif-endless": written(lambda: _with_exif(0x8769, 4, 1, b"\x08\0\0\0")),
    "exif-absurd-count": written(lambda: _with_exif(_ORIENTATION, 3, 2**32 - 1, b"\x06\0")),
    "exif-nonsense": written(lambda: saved(noise(), "JPEG", exif=b"Exif\0\0nonsense")),
    "gif": written(lambda: saved(noise(), "GIF")),
    "gif-cut": written(_cut("GIF", 0.5)),
    "gif-transparent": written(lambda: saved(noise("L").convert("P"), "GIF", transparency=0)),
    "gif-of-frames": written(functools.partial(_pages, "GIF")),
    "webp-of-frames": written(functools.partial(_pages, "WEBP")),
    "webp-cut": written(_cut("WEBP", 0.5)),
    "tiff-of-pages": written(functools.partial(_pages, "TIFF")),
    "tiff-absurd-size": written(_tiff_of(2**31 - 1, 2**31 - 1)),
    "tiff-large-and-empty": written(_tiff_of(12_000, 12_000)),
    "tiff-bits-text": written(_tiff_of(_EDGE, _EDGE, bits=(2, 4, 0x616263))),
    "tiff-bits-none": written(_tiff_of(_EDGE, _EDGE, bits=(3, 0, 0))),
    "tiff-bits-absurd": written(_tiff_of(_EDGE, _EDGE, bits=(3, 2**31, 8))),
    "tiff-bits-fraction": written(_tiff_of(_EDGE, _EDGE, bits=(5, 1, 200))),
    "tiff-samples-absurd": written(_tiff_of(_EDGE, _EDGE, samples=(4, 1, 2**31))),
    "tiff-rows-0": written(_tiff_of(_EDGE, _EDGE, rows=(4, 1, 0))),
    "tiff-tile-0": written(_tiff_of(_EDGE, _EDGE, tile=(4, 1, 0))),
    "tiff-offsets-beyond": written(_tiff_of(_EDGE, _EDGE, offsets=(4, 1, 2**32 - 1))),
    "tiff-offsets-none": written(_tiff_of(_EDGE, _EDGE, offsets=(4, 0, 0))),
    "tiff-orientation-99": written(_tiff_of(_EDGE, _EDGE, orientation=(3, 1, 99))),
    "tiff-orientation-text": written(_tiff_of(_EDGE, _EDGE, orientation=(2, 4, 0x616263))),
    "tiff-compression-unknown": written(_tiff_of(_EDGE, _EDGE, compression=(3, 1, 9999))),
    "tiff-compressed-nonsense": written(_tiff_of(_EDGE, _EDGE, compression=(3, 1, 5))),
    "tiff-floats-nan": written(_floats(float("nan"))),
    "tiff-floats-infinite": written(_floats(float("inf"))),
    "tiff-endless": written(struct.pack("<2sHIHI", b"II", 42, 8, 0, 8)),
    "tiff-bigtiff": written(_tiff(big=True)),
    "bmp-absurd-size": written(
        lambda: _changed(saved(noise(), "BMP"), struct.pack("<ii", _EDGE, _EDGE), struct.pack("<ii", 2**30, 2**30))
    ),
    "bmp-negative-size": written(
        lambda: _changed(saved(noise(), "BMP"), struct.pack("<ii", _EDGE, _EDGE), struct.pack("<ii", -_EDGE, -_EDGE))
    ),
    "bmp-cut": written(_cut("BMP", 0.5)),
    "ppm-named-png": written(lambda: saved(noise(), "PPM")),
    "eps-named-png": written(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"),
    "svg-bomb-named-png": written(b'<!DOCTYPE s [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><svg>&b;</svg>'),
    "zip-named-png": written(b"PK\x05\x06" + bytes(18)),
}
"""Pictures that are decoded quickly; those that may take seconds are in `SLOW`."""

SLOW: dict[str, Build] = {
    "png-bomb-grey": written(functools.partial(_bomb, 30_000, 5000)),
    "png-bomb-colour": written(functools.partial(_bomb, 2**13, 2**13, 3, 2)),
    "png-bomb-transparent": written(functools.partial(_bomb, 2**13, 2**13, 4, 6)),
    "png-bomb-long": written(functools.partial(_bomb, 2**11, 2**15)),
    "png-bomb-longer": written(functools.partial(_bomb, 9, 2**16)),
    "tiff-bomb-16-bits": written(lambda: saved(Image.new("I;16", (2**13, 2**13)), "TIFF", compression="tiff_lzw")),
    "tiff-bomb-floats": written(lambda: saved(Image.new("F", (2**13, 2**13)), "TIFF", compression="tiff_lzw")),
}
"""A picture with more pixels than the limit, and valid ones with as many pixels as the limit allows."""


def _changed(content: bytes, old: bytes, new: bytes) -> bytes:
    assert old in content
    return content.replace(old, new)
