"""Picture files → arrays of one size."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from terracyte.core.errors import InputError

_FORMATS = ("JPEG", "PNG")
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)


class UnreadableError(Exception):
    """A file is no readable picture; the message says why."""


def load_image(path: Path, channels: int, stream: IO[bytes] | None = None) -> Image.Image:
    """Decode a photo, turn it upright (EXIF) and bring it to 1 (grey) or 3 (RGB) channels.

    Args:
        path: of the file.
        channels: 1 or 3.
        stream: the file's content where it is not on disk; `path` only names it then.

    Raises:
        UnreadableError: it is no 8-bit jpg or png, truncated, or transparent in places.
    """
    with _decoding(path, stream) as picture:
        if picture.mode.startswith(("I", "F")):  # Pillow would clip 16 bits instead of scaling them
            raise UnreadableError(f"{path} has more than 8 bits per pixel")
        if picture.has_transparency_data and picture.convert("RGBA").getchannel("A").getextrema() != (255, 255):
            raise UnreadableError(f"{path} has transparent pixels, whose colours nobody has seen")
        return ImageOps.exif_transpose(picture).convert("RGB" if channels == 3 else "L")


def load_mask(path: Path) -> NDArray[Any]:
    """Decode a mask (h, w): grey values or palette indices are classes.

    Raises:
        UnreadableError: it is no readable picture.
        InputError: it is a jpg, whose compression changes classes, or a colour picture.
    """
    with _decoding(path) as picture:
        mask = np.asarray(picture)
        if picture.format != "PNG":
            raise InputError(f"{path} is a jpg, whose compression alters class numbers; save masks as png")
        if mask.ndim != 2:
            raise InputError(f"{path} is a colour picture ({picture.mode}); a mask has one channel of class numbers")
    return mask


def resize_image(picture: Image.Image, height: int, width: int) -> NDArray[np.uint8]:
    """Scale to (h, w, c) uint8 without keeping the aspect ratio; a picture of that size stays as it is.

    The filter averages over the area that a new pixel covers when shrinking, and interpolates when growing.
    """
    pixels = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR), np.uint8)
    return pixels.reshape(height, width, -1)


def resize_mask(mask: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """Scale to (h, w) by nearest neighbour: classes have no mean."""
    rows = (2 * np.arange(height) + 1) * mask.shape[0] // (2 * height)
    columns = (2 * np.arange(width) + 1) * mask.shape[1] // (2 * width)
    return mask[np.ix_(rows, columns)]


@contextmanager
def _decoding(path: Path, stream: IO[bytes] | None = None) -> Iterator[Image.Image]:
    try:
        with Image.open(stream or path, formats=_FORMATS) as picture:
            picture.load()
            yield picture
    except UnidentifiedImageError as error:
        raise UnreadableError(f"{path} is no jpg or png") from error
    except _DAMAGE as error:
        raise UnreadableError(f"{path} is damaged: {error}") from error
