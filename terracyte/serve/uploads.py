"""An uploaded picture file → an image of the task's form."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from terracyte.core.errors import InputError
from terracyte.ingest.sources.pictures import FORMATS, KINDS, UnreadableError, load_image, resize_image
from terracyte.tasks.task import Task

LARGEST_FILE = 10 * 2**20  # bytes
_LARGEST_PICTURE = 40_000_000  # pixels: more than a telephone's camera takes, and 120 MB in memory
_NAME = Path("the file")


def decode(task: Task, content: bytes) -> tuple[NDArray[np.uint8], str]:
    """Decode a picture file, and scale it where it has another size.

    Args:
        task: whose images are expected.
        content: of the file.

    Returns:
        The image (h, w, c), and a note on its scaling; "" where it was not scaled.

    Raises:
        InputError: it is no readable picture, or too large.
    """
    height, width, _ = task.image_shape
    _check_size(content)
    try:
        picture = load_image(task, _NAME, io.BytesIO(content)).picture
    except UnreadableError as error:
        raise InputError(str(error)) from error
    image = resize_image(picture, height, width)
    if picture.size == (width, height):
        return image, ""
    return image, f"Scaled from {picture.width}x{picture.height} to {width}x{height} pixels, the size of the task."


def _check_size(content: bytes) -> None:
    """Refuse other files, and pictures with too many pixels, before any pixel is decoded."""
    if not content:
        raise InputError(f"the file is empty: choose a {KINDS}")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            width, height = picture.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"the file is no {KINDS}, or far too large") from error
    if width * height > _LARGEST_PICTURE:
        raise InputError(f"the picture has {width}x{height} pixels: at most {_LARGEST_PICTURE // 10**6} million")
