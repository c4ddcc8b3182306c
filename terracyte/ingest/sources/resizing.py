"""Resize pictures to the task's height and width, as the task's `fit` says, and masks exactly like their pictures."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from terracyte.tasks.task import Task

Region = tuple[slice, slice]
"""Rows and columns."""


@dataclasses.dataclass(frozen=True)
class Placement:
    """How a picture is placed in the task's image.

    Attributes:
        used: the part of the picture that is used: all of it, except with `fit: crop`.
        filled: the part of the task's image that is filled: all of it, except with `fit: pad`.
    """

    used: Region
    filled: Region


def placement(task: Task, height: int, width: int) -> Placement:
    """Return the placement of a picture of this size in the task's image."""
    picture, image = (height, width), task.image_shape[:2]
    used, filled = picture, image
    if task.spec.fit == "crop":
        used = _largest(picture, like=image)
    elif task.spec.fit == "pad":
        filled = _largest(image, like=picture)
    return Placement(_centred(used, picture), _centred(filled, image))


def resize_image(task: Task, picture: Image.Image) -> NDArray[np.uint8]:
    """Scale to (h, w, c) uint8; a picture of the task's size is unchanged.

    The filter averages over the area that a new pixel covers when shrinking, and interpolates when growing. Bars of
    padding have the picture's mean colour, which changes neither its brightness nor its mean in standardized images.
    """
    height, width, _ = task.image_shape
    place = placement(task, picture.height, picture.width)
    (rows, columns), filled = place.used, place.filled
    box = (columns.start, rows.start, columns.stop, rows.stop)
    scaled = picture.resize(shape(filled)[::-1], Image.Resampling.BILINEAR, box)
    pixels = np.asarray(scaled, np.uint8).reshape(*shape(filled), -1)
    if shape(filled) == (height, width):
        return pixels
    padded = np.empty(task.image_shape, np.uint8)
    padded[:] = np.rint(pixels.mean(axis=(0, 1)))
    padded[filled] = pixels
    return padded


def resize_mask(task: Task, mask: NDArray[Any]) -> NDArray[Any]:
    """Scale labels to (h, w) by nearest neighbour, since classes have no mean; bars of padding are background."""
    place = placement(task, *mask.shape)
    used, (height, width) = mask[place.used], shape(place.filled)
    rows = (2 * np.arange(height) + 1) * used.shape[0] // (2 * height)
    columns = (2 * np.arange(width) + 1) * used.shape[1] // (2 * width)
    scaled = used[np.ix_(rows, columns)]
    if task.background is None:  # no bars: tasks without a background are never padded
        return scaled
    padded = np.full(task.image_shape[:2], task.background, mask.dtype)
    padded[place.filled] = scaled
    return padded


def shape(region: Region) -> tuple[int, int]:
    """Return the height and the width of a region."""
    rows, columns = region
    return rows.stop - rows.start, columns.stop - columns.start


def _largest(within: tuple[int, int], like: tuple[int, int]) -> tuple[int, int]:
    """Return the largest size within `within` that has the aspect ratio of `like`, to the nearest pixel."""
    height = max(1, (2 * within[1] * like[0] + like[1]) // (2 * like[1]))
    width = max(1, (2 * within[0] * like[1] + like[0]) // (2 * like[0]))
    return min(within[0], height), min(within[1], width)


def _centred(size: tuple[int, int], within: tuple[int, int]) -> Region:
    top, left = ((outer - inner) // 2 for inner, outer in zip(size, within, strict=True))
    return slice(top, top + size[0]), slice(left, left + size[1])
