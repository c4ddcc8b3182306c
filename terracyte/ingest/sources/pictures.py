"""Picture files → pictures of a task's channels; `resizing` brings them to its size.

What decides how a file becomes pixels stands in the task (`pixel_range`, `transparent`, `fit`), since a model must see
the pictures that it predicts as it saw those that it learned from.
"""

import dataclasses
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, TiffImageFile

from terracyte.tasks.task import Task

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")
KINDS = "jpg, png, bmp, tif or webp"  # for messages

_ORIENTATION = 0x0112  # the EXIF tag: 1 is upright, 2 to 8 are turns and mirrors
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
_WHITE = (255, 255, 255, 255)


class UnreadableError(Exception):
    """A file is no readable picture; the message says why."""


@dataclasses.dataclass(frozen=True)
class Photo:
    """A picture, turned upright.

    Attributes:
        picture: grey (L) or RGB.
        orientation: what EXIF says of the file's pixels; 1: they are stored upright.
        stored_size: width and height of the file's pixels.
    """

    picture: Image.Image
    orientation: int
    stored_size: tuple[int, int]


def load_image(task: Task, path: Path, stream: IO[bytes] | None = None) -> Photo:
    """Decode a photo, turn it upright (EXIF) and bring it to the task's channels.

    Args:
        task: its channels, `pixel_range` and `transparent`.
        path: of the file.
        stream: the file's content where it is not on disk; `path` only names it then.

    Raises:
        UnreadableError: it is no picture or damaged, has several pages, more than 8 bits per channel and the task no
            `pixel_range`, or is transparent in places and the task does not flatten.
    """
    with decoding(path, stream) as (picture, bits):
        size, orientation = picture.size, exif_orientation(picture)
        if bits > 8:
            picture = _scaled(task, picture, path, bits)
        if picture.has_transparency_data:
            picture = _opaque(task, picture, path)
        upright = ImageOps.exif_transpose(picture)
        return Photo(upright.convert("RGB" if task.image_shape[2] == 3 else "L"), orientation, size)


def exif_orientation(picture: Image.Image) -> int:
    """1 to 8; 1 where the file says nothing."""
    return int(picture.getexif().get(_ORIENTATION, 1))


@contextmanager
def decoding(path: Path, stream: IO[bytes] | None = None) -> Iterator[tuple[Image.Image, int]]:
    """Yield a file's decoded picture, and the bits of each of its channels.

    Raises:
        UnreadableError: it is a folder, no picture, damaged, or of several pages.
    """
    if stream is None and path.is_dir():
        raise UnreadableError(f"{path} is a folder, no picture")
    try:
        with Image.open(stream or path, formats=FORMATS) as picture:
            bits = _bits(picture)
            picture.load()
            # Some cameras append a second picture to a jpg: the first one is what everybody shows.
            if picture.format in ("TIFF", "WEBP", "PNG") and getattr(picture, "n_frames", 1) > 1:
                raise UnreadableError(f"{path} has several pages or frames; save the one that is meant")
            yield picture, bits
    except UnidentifiedImageError as error:
        raise UnreadableError(f"{path} is no {KINDS}") from error
    except PermissionError as error:
        raise UnreadableError(f"{path} may not be read: {error.strerror}") from error
    except _DAMAGE as error:
        raise UnreadableError(f"{path} is damaged: {error}") from error


def _bits(picture: Image.Image) -> int:
    """Of a channel in the file: Pillow's mode hides that it drops the low byte of colours of 16 bits."""
    if isinstance(picture, TiffImageFile):
        return int(max(picture.tag_v2.get(BITSPERSAMPLE, (1,))))
    raw_mode = str(picture.tile[0][3]) if isinstance(picture, ImageFile.ImageFile) and picture.tile else ""
    return 16 if "16" in raw_mode or picture.mode.startswith(("I", "F")) else 8


def _scaled(task: Task, picture: Image.Image, path: Path, bits: int) -> Image.Image:
    """`pixel_range` → 0-255; values beyond it become its ends."""
    if task.spec.pixel_range is None:
        raise UnreadableError(
            f"{path} has more than 8 bits per channel ({bits}); say in params.yaml which values become 0 and 255: "
            f"'tasks.{task.name}.pixel_range: [LOW, HIGH]'"
        )
    if not picture.mode.startswith(("I", "F")):
        raise UnreadableError(f"{path} has {bits} bits per channel of a colour, which is not read: save it with 8")
    low, high = task.spec.pixel_range
    shares = (np.asarray(picture, np.float64) - low) / (high - low)
    scaled = Image.fromarray(np.rint(255 * shares.clip(0, 1)).astype(np.uint8))
    scaled.getexif()[_ORIENTATION] = exif_orientation(picture)
    return scaled


def _opaque(task: Task, picture: Image.Image, path: Path) -> Image.Image:
    """The picture without alpha; a palette's transparent colour is alpha, too."""
    layered = picture.convert("RGBA")
    if layered.getchannel("A").getextrema() != (255, 255):
        if task.spec.transparent == "refuse":
            raise UnreadableError(
                f"{path} has transparent pixels, whose colours nobody has seen: save it without, or set "
                f"'tasks.{task.name}.transparent' to flatten in params.yaml, which puts it on white"
            )
        layered = Image.alpha_composite(Image.new("RGBA", layered.size, _WHITE), layered)
    flat = layered.convert("RGB")
    flat.getexif()[_ORIENTATION] = exif_orientation(picture)
    return flat
