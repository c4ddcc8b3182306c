"""Turns an uploaded picture file into an image of the task's shape."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from terracyte.core.errors import InputError
from terracyte.ingest.sources.pictures import KINDS, UnreadableError, load_image
from terracyte.ingest.sources.resizing import Region, placement, resize_image, shape
from terracyte.tasks.task import Task

LARGEST_FILE = 10 * 2**20  # bytes
_LARGEST_PICTURE = 40_000_000  # pixels: more than most phone cameras take, and 120 MB in memory as RGB
_NAME = Path("the file")


def decode(task: Task, content: bytes) -> tuple[NDArray[np.uint8], Region, str]:
    """Decode a picture file, and scale it to the task's size if it has another one.

    Args:
        task: the task that defines the image's shape.
        content: the file's bytes.

    Returns:
        The image (h, w, c), 0-255, of the task's shape; the part of it that is the picture, without bars of padding;
        a sentence on the scaling, "" if the picture was not scaled.

    Raises:
        InputError: the file is no readable picture, or too large.
    """
    if not content:
        raise InputError(f"the file is empty: choose a {KINDS} file")
    try:
        picture = load_image(task, _NAME, io.BytesIO(content), _LARGEST_PICTURE).picture
    except UnreadableError as error:
        raise InputError(str(error)) from error
    region = placement(task, picture.height, picture.width).filled
    return resize_image(task, picture), region, _note(task, picture)


def _note(task: Task, picture: Image.Image) -> str:
    height, width, _ = task.image_shape
    if picture.size == (width, height):
        return ""
    place = placement(task, picture.height, picture.width)
    (used_height, used_width), (filled_height, filled_width) = shape(place.used), shape(place.filled)
    whole, all_of_it = f"{picture.width}x{picture.height}", f"{width}x{height}"
    used, filled = f"{used_width}x{used_height}", f"{filled_width}x{filled_height}"
    source = whole if used == whole else f"the middle {used} of {whole}"
    padding = "" if filled == all_of_it else f", padded to {all_of_it}"
    return f"Scaled from {source} to {filled} pixels{padding}, the size of the task."
