"""Pictures of any size → the task's height and width, as its `fit` says; masks exactly as their pictures."""

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
    """How a picture comes into the task's image.

    Attributes:
        used: what of the picture: all of it, but with `fit: crop`.
        filled: what of the task's image: all of it, but with `fit: pad`.
    """

    used: Region
    filled: Region


def placement(task: Task, height: int, width: int) -> Placement:
    """Where a picture of that size lies in the task's image."""
    picture, image = (height, width), task.image_shape[:2]
    used, filled = picture, image
    if task.spec.fit == "crop":
        used = _largest(picture, like=image)
    elif task.spec.fit == "pad":
        filled = _largest(image, like=picture)
    return Placement(_centred(used, picture), _centred(filled, image))


def resize_image(task: Task, picture: Image.Image) -> NDArray[np.uint8]:
    """Scale to (h, w, c) uint8; a picture of that size stays as it is.

    The filter averages over the area that a new pixel covers when shrinking, and interpolates when growing. Bars of
    padding have the picture's mean colour, which leaves its brightness and its mean in standardized images as they are.
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
    if task.background is None:  # then there are no bars: such tasks are not padded
        return scaled
    padded = np.full(task.image_shape[:2], task.background, mask.dtype)
    padded[place.filled] = scaled
    return padded


def shape(region: Region) -> tuple[int, int]:
    """Its height and width."""
    rows, columns = region
    return rows.stop - rows.start, columns.stop - columns.start


def _largest(within: tuple[int, int], like: tuple[int, int]) -> tuple[int, int]:
    """The largest (height, width) within another that has the aspect of a third, to the nearest pixel."""
    height = max(1, (2 * within[1] * like[0] + like[1]) // (2 * like[1]))
    width = max(1, (2 * within[0] * like[1] + like[0]) // (2 * like[0]))
    return min(within[0], height), min(within[1], width)


def _centred(size: tuple[int, int], within: tuple[int, int]) -> Region:
    top, left = ((outer - inner) // 2 for inner, outer in zip(size, within, strict=True))
    return slice(top, top + size[0]), slice(left, left + size[1])
