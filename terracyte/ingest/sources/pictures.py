"""Picture files → pictures with a task's channels; `resizing` brings them to the task's size.

The settings for turning a file into pixels belong to the task (`pixel_range`, `transparent`, `fit`), since a model must
see new pictures in the same form as those that it was trained on.
"""

import dataclasses
import struct
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, TiffImageFile

from terracyte.core import opening
from terracyte.tasks.task import Task

SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp")
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP")
KINDS = "jpg, png, gif, bmp, tif or webp"  # for messages

LARGEST = 2**26  # pixels of a picture: at 16 bytes per pixel for all intermediate copies, a gigabyte
_LONGEST_EDGE = 2**15  # pixels: resizing between very different shapes takes many times the memory of both

_ORIENTATION = 0x0112  # the EXIF tag: 1 is upright, 2 to 8 are turns and mirrors
# EXIF orientation → the Pillow operation that turns stored pixels upright
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Exceptions that Pillow raises on foreign and damaged bytes.
_OF_VALUES = (ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError, ArithmeticError)
_DAMAGE = (*_OF_VALUES, OSError, SyntaxError, EOFError, MemoryError, struct.error)
_BLOCK = 2**20  # pixels of more than 8 bits that are scaled at a time
_WHITE = (255, 255, 255, 255)


# Pillow's warnings about metadata and sizes name no file; a picture's faults are reported as errors instead.
warnings.filterwarnings("ignore", module=r"PIL\.")


class UnreadableError(Exception):
    """A file is no readable picture; the message says why."""


@dataclasses.dataclass(frozen=True)
class Photo:
    """A picture, turned upright.

    Attributes:
        picture: grey (L) or RGB.
        orientation: EXIF orientation of the file's pixels; 1 means stored upright.
        stored_size: width and height of the file's pixels.
    """

    picture: Image.Image
    orientation: int
    stored_size: tuple[int, int]


def load_image(task: Task, path: Path, stream: IO[bytes] | None = None, largest: int = LARGEST) -> Photo:
    """Decode a photo, turn it upright (EXIF) and bring it to the task's channels.

    Args:
        task: the task, which gives the channels, `pixel_range` and `transparent`.
        path: the file.
        stream: the file's content if it is not on disk; `path` then only names it.
        largest: the greatest number of pixels that is accepted.

    Raises:
        UnreadableError: the file is no picture, is damaged or too large, has several pages, has more than 8 bits per
            channel (unless it is grey, without NaN, and the task has a `pixel_range`), or is transparent in places and
            the task does not flatten.
    """
    with decoding(path, stream, largest) as (picture, bits):
        size, orientation = picture.size, exif_orientation(picture)
        if bits > 8:
            picture = _scaled(task, picture, path, bits)
        if picture.has_transparency_data:
            picture = _opaque(task, picture, path)
        return Photo(
            upright(in_mode(picture, "RGB" if task.image_shape[2] == 3 else "L"), orientation), orientation, size
        )


def exif_orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where it is missing or invalid."""
    told = picture.getexif().get(_ORIENTATION)
    return told if isinstance(told, int) and told in _UPRIGHT else 1


def upright(picture: Image.Image, orientation: int) -> Image.Image:
    """Turn a picture stored in an EXIF orientation upright; return it as is if nothing is to be turned."""
    return picture if orientation == 1 else picture.transpose(_UPRIGHT[orientation])


def in_mode(picture: Image.Image, mode: str) -> Image.Image:
    """Convert to a Pillow mode; return a picture that has the mode as is, which saves a copy."""
    return picture if picture.mode == mode else picture.convert(mode)


@contextmanager
def decoding(path: Path, stream: IO[bytes] | None = None, largest: int = LARGEST) -> Iterator[tuple[Image.Image, int]]:
    """Yield a file's decoded picture, and its number of bits per channel.

    Raises:
        UnreadableError: the file is a folder, no picture, damaged, of more than `largest` pixels, or of several pages.
    """
    if stream is None and path.is_dir():
        raise UnreadableError(f"{path} is a folder, not a picture")
    with ExitStack() as stack:
        try:
            if stream is None:
                opening.require_file(path)
            picture = stack.enter_context(Image.open(stream or path, formats=FORMATS))
            _check_size(path, picture, largest)
            bits = _bits(picture)
            picture.load()
            _check_decoded(path, picture)
        except UnidentifiedImageError as error:
            raise UnreadableError(f"{path} is not a {KINDS}") from error
        except Image.DecompressionBombError as error:
            raise UnreadableError(
                f"{path} has far more pixels than the {largest / 10**6:.0f} million that are allowed"
            ) from error
        except PermissionError as error:
            raise UnreadableError(f"{path} cannot be read: {error.strerror}") from error
        except _DAMAGE as error:
            raise UnreadableError(f"{path} is damaged: {error or type(error).__name__}") from error
        yield picture, bits


def _check_size(path: Path, picture: Image.Image, largest: int) -> None:
    """Refuse too large a picture before any pixel is decoded: a file of kilobytes may claim gigabytes."""
    if picture.width * picture.height > largest:
        raise UnreadableError(
            f"{path} has {picture.width}x{picture.height} pixels: at most {largest / 10**6:.0f} million are allowed"
        )
    if max(picture.size) > _LONGEST_EDGE:
        raise UnreadableError(
            f"{path} has {picture.width}x{picture.height} pixels: a side may have at most {_LONGEST_EDGE}"
        )


def _check_decoded(path: Path, picture: Image.Image) -> None:
    # Some cameras append a second picture to a jpg: viewers show the first one.
    if picture.format in ("TIFF", "WEBP", "PNG", "GIF") and getattr(picture, "n_frames", 1) > 1:
        raise UnreadableError(f"{path} has several pages or frames: save the one you need as a single picture")
    if picture.mode in ("P", "PA") and picture.palette is None:
        raise UnreadableError(f"{path} is damaged: it needs a palette of colours but has none")
    picture.getexif()  # read here, where damaged EXIF is reported


def _bits(picture: Image.Image) -> int:
    """Return the bits per channel in the file: Pillow's mode hides that it drops the low byte of 16-bit colours."""
    if isinstance(picture, TiffImageFile):
        return int(max(picture.tag_v2.get(BITSPERSAMPLE, (1,))))
    told = picture.tile[0][3] if isinstance(picture, ImageFile.ImageFile) and picture.tile else ""
    raw_mode = str(told[0] if isinstance(told, tuple) else told)  # a tuple also has numbers, such as a row's bytes
    deep = "16" in raw_mode and raw_mode != "BGR;16"  # all three channels share 16 bits
    return 16 if deep or picture.mode.startswith(("I", "F")) else 8


def _scaled(task: Task, picture: Image.Image, path: Path, bits: int) -> Image.Image:
    """Scale `pixel_range` to 0-255; clip values outside `pixel_range`."""
    if task.spec.pixel_range is None:
        raise UnreadableError(
            f"{path} has more than 8 bits per channel ({bits}); say in params.yaml, before training, which values "
            f"become 0 and 255: 'tasks.{task.name}.pixel_range: [LOW, HIGH]'"
        )
    if not picture.mode.startswith(("I", "F")):
        raise UnreadableError(
            f"{path} has {bits} bits per channel, allowed only in grey pictures without transparency: save it with 8"
        )
    values = np.asarray(picture)
    if np.isnan(values).any():
        raise UnreadableError(f"{path} has a pixel that is not a number (NaN): save it without NaN")
    return Image.fromarray(within(task.spec.pixel_range, values))


def within(pixel_range: tuple[float, float], values: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale the values of a range to 0-255, rounded; values outside the range are clipped, NaN must not occur."""
    low, high = pixel_range
    flat = values.reshape(-1)
    pixels = np.empty(flat.shape, np.uint8)
    for start in range(0, len(flat), _BLOCK):  # the floats of all would take eight times the memory
        shares = (flat[start : start + _BLOCK].astype(np.float64) - low) / (high - low)
        pixels[start : start + _BLOCK] = np.rint(255 * shares.clip(0, 1))
    return pixels.reshape(values.shape)


def is_transparent(picture: Image.Image) -> bool:
    """Return whether a pixel is not opaque; a palette's transparent colour counts as transparent, too."""
    return picture.has_transparency_data and in_mode(picture, "RGBA").getchannel("A").getextrema() != (255, 255)


def _opaque(task: Task, picture: Image.Image, path: Path) -> Image.Image:
    """Return the picture in RGB, without alpha."""
    layered = in_mode(picture, "RGBA")
    if is_transparent(layered):
        if task.spec.transparent == "refuse":
            raise UnreadableError(
                f"{path} has transparent pixels, whose colours are invisible: save it without transparency, or set "
                f"'tasks.{task.name}.transparent' to flatten in params.yaml before training: they become white"
            )
        layered = Image.alpha_composite(Image.new("RGBA", layered.size, _WHITE), layered)
    return layered.convert("RGB")
