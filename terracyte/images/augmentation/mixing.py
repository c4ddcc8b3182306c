"""Mixtures: erased boxes, boxes of other images, blends of two images.

Keras' layers RandomErasing, CutMix and MixUp do the pasting; what they paste is drawn here, from the caller's
generator. (Their own draws would be: noise of which half is black; a box whose share of the image is not that of
its pixels; and all of it from the layers' state.)
"""

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terracyte.images.augmentation.appearance import Planes

Targets = NDArray[Any]

# Keras' own range of a squared side of an erased box, in shares of the image's.
_ERASED = (0.02, 0.33)
# Of the Beta distribution of MixUp's weights, as in the paper's ImageNet runs and in Keras.
_MIXUP_ALPHA = 0.2


@functools.cache
def _layer(name: str) -> Any:
    import keras

    # the seed is never used: without it, Keras would draw one from Python's global generator
    return getattr(keras.layers, name)(seed=0, data_format="channels_first", dtype="float32")


def _as_numpy(tensor: Any) -> NDArray[Any]:
    from keras import ops

    array: NDArray[Any] = ops.convert_to_numpy(tensor)
    return array


def erase(planes: Planes, probability: float, random: np.random.Generator) -> Planes:
    """Cover a box of some images with one colour, drawn about the image's own colours (arXiv 1708.04896).

    Masks stay as they are: the network has to infer what is under the box from its surroundings.

    Args:
        planes: (b, c, h, w), 0-255.
        probability: that an image loses a box.
        random: drawn from.
    """
    size, channels, height, width = planes.shape
    chosen = random.random((size,)) < probability
    sides = np.sqrt(random.uniform(*_ERASED, (2, size)))
    covered = boxes(height, width, sides[0], sides[1], random)[chosen]
    colours = random.standard_normal((size, channels, 1, 1), np.float32)[chosen]
    if not chosen.any():
        return planes
    planes, before = planes.copy(), planes[chosen]
    colours = before.mean(axis=(2, 3), keepdims=True) + colours * before.std(axis=(2, 3), keepdims=True)
    transformation = {
        "batch_masks": covered,
        "apply_erasing": np.ones(len(before), np.bool_),
        "fill_value": colours.clip(0, 255),
    }
    planes[chosen] = _as_numpy(_layer("RandomErasing").transform_images(before, transformation))
    return planes


def cutmix(planes: Planes, targets: Targets, dense: bool, random: np.random.Generator) -> tuple[Planes, Targets]:
    """Paste a box of another image of the batch into each image (arXiv 1905.04899).

    The share of a box is uniform in (0, 1), its place any within the image. Masks are pasted likewise; class
    shares are mixed by the pixels.

    Args:
        planes: (b, c, h, w).
        targets: masks (b, h, w) or class shares (b, k).
        dense: whether they are masks.
        random: drawn from.
    """
    size, _, height, width = planes.shape
    sides = np.sqrt(random.random(size))
    pasted = boxes(height, width, sides, sides, random)
    transformation = {
        "batch_masks": pasted,
        "permutation_order": random.permutation(size),
        "mix_weight": (1 - pasted.mean(axis=(1, 2, 3))).astype(np.float32),
    }
    layer = _layer("CutMix")
    mixed = _as_numpy(layer.transform_images(planes, transformation))
    if dense:
        # through float32, which holds class numbers exactly
        masks = layer.transform_segmentation_masks(targets[:, None], transformation)
        return mixed, _as_numpy(masks)[:, 0].astype(targets.dtype)
    return mixed, _as_numpy(layer.transform_labels(targets, transformation))


def mixup(planes: Planes, shares: Targets, random: np.random.Generator) -> tuple[Planes, Targets]:
    """Blend each image with another of the batch, and their class shares likewise (arXiv 1710.09412).

    Args:
        planes: (b, c, h, w).
        shares: (b, k).
        random: drawn from.
    """
    size = len(planes)
    transformation = {
        "mix_weight": random.beta(_MIXUP_ALPHA, _MIXUP_ALPHA, size).astype(np.float32),
        "permutation_order": random.permutation(size),
    }
    layer = _layer("MixUp")
    images = _as_numpy(layer.transform_images(planes, transformation))
    return images, _as_numpy(layer.transform_labels(shares, transformation))


def boxes(
    height: int,
    width: int,
    vertical: NDArray[np.float64],
    horizontal: NDArray[np.float64],
    random: np.random.Generator,
) -> NDArray[np.bool_]:
    """A box somewhere in each image: (b, 1, h, w), true inside.

    Args:
        height: of the images, in pixels.
        width: of the images, in pixels.
        vertical: (b,) sides of the boxes in shares of the height.
        horizontal: (b,) sides of the boxes in shares of the width.
        random: drawn from.
    """
    rows, columns = _intervals(height, vertical, random), _intervals(width, horizontal, random)
    return rows[:, None, :, None] & columns[:, None, None, :]


def _intervals(length: int, shares: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.bool_]:
    sides = np.rint(shares * length)
    starts = np.floor(random.random(len(shares)) * (length - sides + 1))
    places = np.arange(length)
    inside: NDArray[np.bool_] = (places >= starts[:, None]) & (places < (starts + sides)[:, None])
    return inside
