"""Mixtures: erased boxes, boxes of other images, blends of two images.

Not by Keras' layers RandomErasing, CutMix and MixUp: their draws come from the layers' own state, half of an erased
box's noise is black, a pasted box's share of the image is not that of its pixels, and each copies the whole batch.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.float32]
Targets = NDArray[Any]

# Keras' own range of a squared side of an erased box, in shares of the image's.
_ERASED = (0.02, 0.33)
# Of the Beta distribution of MixUp's weights, as in the paper's ImageNet runs and in Keras.
_MIXUP_ALPHA = 0.2


def erase(images: Images, probability: float, most: int, random: np.random.Generator) -> None:
    """Cover boxes of some images with colours drawn about the image's own ones (arXiv 1708.04896).

    A single box has one colour. Of several, half are noise; all together they have the area of a single one.
    Masks stay as they are: the network has to infer what is under a box from its surroundings.

    Args:
        images: (b, h, w, c), 0-255; changed in place.
        probability: that an image loses boxes.
        most: boxes of an image; their number is uniform from 1 to this.
        random: drawn from.
    """
    size, height, width, channels = images.shape
    chosen = random.random(size) < probability
    counts = random.integers(1, most + 1, (size,))
    sides = np.sqrt(random.uniform(*_ERASED, (2, size, most)) / counts[:, None])
    rows, columns = boxes(height, width, sides[0].ravel(), sides[1].ravel(), random)
    colours = random.standard_normal((size * most, channels), np.float32)
    noisy = (random.random(size * most) < 0.5) & (most > 1)
    for place in np.flatnonzero(chosen):
        mean, deviation = np.asarray(cv2.meanStdDev(images[place]), np.float32)[..., 0]
        for number in range(place * most, place * most + counts[place]):
            box = images[place, rows[number], columns[number]]
            drawn = random.standard_normal(box.shape, np.float32) if noisy[number] else colours[number]
            box[...] = (mean + drawn * deviation).clip(0, 255)


def cutmix(images: Images, targets: Targets, dense: bool, random: np.random.Generator) -> tuple[Images, Targets]:
    """Paste a box of another image of the batch into each image (arXiv 1905.04899).

    The share of a box is uniform in (0, 1), its place any within the image. Masks are pasted likewise; class
    shares are mixed by the pixels.

    Args:
        images: (b, h, w, c).
        targets: masks (b, h, w) or class shares (b, k).
        dense: whether they are masks.
        random: drawn from.
    """
    size, height, width, _ = images.shape
    sides = np.sqrt(random.random(size))
    rows, columns = boxes(height, width, sides, sides, random)
    others = random.permutation(size)
    mixed, followed = images.copy(), targets.copy()
    for place, other in enumerate(others):
        box = rows[place], columns[place]
        mixed[place][box] = images[other][box]
        if dense:
            followed[place][box] = targets[other][box]
        else:
            share = np.float32(mixed[place, ..., 0][box].size / (height * width))
            followed[place] = (1 - share) * targets[place] + share * targets[other]
    return mixed, followed


def mixup(images: Images, shares: Targets, random: np.random.Generator) -> tuple[Images, Targets]:
    """Blend each image with another of the batch, and their class shares likewise (arXiv 1710.09412).

    Args:
        images: (b, h, w, c).
        shares: (b, k).
        random: drawn from.
    """
    size = len(images)
    weights = random.beta(_MIXUP_ALPHA, _MIXUP_ALPHA, size).astype(np.float32)
    others = random.permutation(size)
    return _blend(images, others, weights[:, None, None, None]), _blend(shares, others, weights[:, None])


def _blend(values: NDArray[Any], others: NDArray[np.int64], weights: Images) -> NDArray[Any]:
    blended = values[others]
    blended -= values
    blended *= 1 - weights
    blended += values
    return blended


def boxes(
    height: int,
    width: int,
    vertical: NDArray[np.float64],
    horizontal: NDArray[np.float64],
    random: np.random.Generator,
) -> tuple[list[slice], list[slice]]:
    """A box somewhere in each image: the rows and the columns of b boxes.

    Args:
        height: of the images, in pixels.
        width: of the images, in pixels.
        vertical: (b,) sides of the boxes in shares of the height.
        horizontal: (b,) sides of the boxes in shares of the width.
        random: drawn from.
    """
    return _intervals(height, vertical, random), _intervals(width, horizontal, random)


def _intervals(length: int, shares: NDArray[np.float64], random: np.random.Generator) -> list[slice]:
    sides = np.rint(shares * length).astype(int)
    starts = np.floor(random.random(len(shares)) * (length - sides + 1)).astype(int)
    return [slice(start, start + side) for start, side in zip(starts, sides, strict=True)]
