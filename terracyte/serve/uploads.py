"""An uploaded picture file → an image of the task's form."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from terracyte.core.errors import InputError
from terracyte.ingest.sources.pictures import UnreadableError, load_image, resize_image
from terracyte.tasks.task import Task

LARGEST_FILE = 10 * 2**20  # bytes
_LARGEST_PICTURE = 40_000_000  # pixels: more than a telephone's camera takes, and 120 MB in memory
_NAME = Path("the file")


def decode(task: Task, content: bytes) -> tuple[NDArray[np.uint8], str]:
    """Decode a jpg or png, and scale it where it has another size.

    Args:
        task: whose images are expected.
        content: of the file.

    Returns:
        The image (h, w, c), and a note on its scaling; "" where it was not scaled.

    Raises:
        InputError: it is not a readable jpg or png, or too large.
    """
    height, width, channels = task.image_shape
    _check_size(content)
    try:
        picture = load_image(_NAME, channels, io.BytesIO(content))
    except UnreadableError as error:
        raise InputError(str(error)) from error
    image = resize_image(picture, height, width)
    if picture.size == (width, height):
        return image, ""
    return image, f"Scaled from {picture.width}x{picture.height} to {width}x{height} pixels, the size of the task."


def _check_size(content: bytes) -> None:
    """Refuse other files, and pictures with too many pixels, before any pixel is decoded."""
    if not content:
        raise InputError("the file is empty: choose a jpg or png")
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as picture:
            width, height = picture.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError("the file is no jpg or png, or far too large") from error
    if width * height > _LARGEST_PICTURE:
        raise InputError(f"the picture has {width}x{height} pixels: at most {_LARGEST_PICTURE // 10**6} million")
