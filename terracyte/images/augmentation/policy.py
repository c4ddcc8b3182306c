"""RandAugment and AugMix: chains of changes drawn for each image, made of Keras' single layers.

Keras' own RandAugment and AugMix draw one chain for a whole batch; RandAugment then computes every change, chosen
or not (350 ms for 32 images of 96x96x3), equalises with the histogram of all images at once, and posterises and
solarises the more the lower its strength is; AugMix draws from Python's global generator. Equalisation is left
out here: right, image by image, Keras' layer takes 29 ms for each.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terracyte.images.augmentation import geometry

Images = NDArray[np.float32]
# (b, c, h, w), 0-255: a channel's pixels lie side by side.
Planes = NDArray[np.float32]
Amounts = NDArray[np.float32]

# What a full strength does: angles in radians, shears and shifts in shares of the image, else relative changes.
_ANGLE, _SHEAR, _SHIFT, _FACTOR, _BITS = np.pi / 6, 0.3, 0.3, 0.9, 4
_GEOMETRIC = ("rotate", "shear_x", "shear_y", "shift_x", "shift_y")
_RANDAUGMENT_DEPTH = 2
_AUGMIX_CHAINS, _AUGMIX_DEPTH = 3, 3
# AugMix leaves out what resembles a corruption of its test, and so does this project.
_AUGMIX = (*_GEOMETRIC, "autocontrast", "posterize", "solarize")


@functools.cache
def _layer(name: str, **arguments: Any) -> Any:
    import keras

    return getattr(keras.layers, name)(dtype="float32", **arguments)


def _apply(layer: Any, planes: Planes, transformation: dict[str, Any] | None = None) -> Planes:
    from keras import ops

    tensor = ops.convert_to_tensor(planes, dtype="float32")
    changed: Planes = ops.convert_to_numpy(layer.transform_images(tensor, transformation))
    return changed


def _per_image(amounts: Amounts) -> Amounts:
    """(b,) → (b, 1, 1, 1), to be combined with planes."""
    return amounts[:, None, None, None]


def _autocontrast(planes: Planes, _: Amounts) -> Planes:
    # each channel as an image: the layer looks at the axes of channels-last images
    single = planes.reshape(-1, *planes.shape[2:], 1)
    return _apply(_layer("AutoContrast"), single).reshape(planes.shape)


def _posterize(planes: Planes, amounts: Amounts) -> Planes:
    lost = np.rint(np.abs(amounts) * _BITS).astype(np.uint8)
    return _apply(_layer("RandomPosterization", factor=8, seed=0), planes, {"shift_factor": lost})


def _solarize(planes: Planes, amounts: Amounts) -> Planes:
    # white lies below the threshold of no amount
    thresholds = 256 * (1 - np.abs(_per_image(amounts)))
    transformation = {"additions": np.zeros_like(thresholds), "thresholds": thresholds}
    return _apply(_layer("Solarization", seed=0), planes, transformation)


def _colour(planes: Planes, amounts: Amounts) -> Planes:
    layer = _layer("RandomColorDegeneration", factor=1.0, seed=0, data_format="channels_first")
    return _apply(layer, planes, {"factor": _FACTOR * _per_image(amounts)})


def _contrast(planes: Planes, amounts: Amounts) -> Planes:
    layer = _layer("RandomContrast", factor=1.0, seed=0, data_format="channels_first")
    return _apply(layer, planes, {"contrast_factor": 1 + _FACTOR * _per_image(amounts)})


def _brightness(planes: Planes, amounts: Amounts) -> Planes:
    layer = _layer("RandomBrightness", factor=1.0, seed=0)
    return _apply(layer, planes, {"rgb_delta": 255 / 2 * _per_image(amounts)})


def _sharpness(planes: Planes, amounts: Amounts) -> Planes:
    # mirrored by a pixel: the layer would darken the border, as it pads with black
    padded = np.pad(planes, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="symmetric")
    single = padded.reshape(-1, *padded.shape[2:], 1)
    factor = (1 + _FACTOR * amounts.repeat(planes.shape[1])) / 2
    changed = _apply(_layer("RandomSharpness", factor=1.0, seed=0), single, {"factor": factor})
    return changed.reshape(padded.shape)[:, :, 1:-1, 1:-1]


# name → change of planes (b, c, h, w) by amounts (b,) from -1 to 1
_POINTWISE: dict[str, Callable[[Planes, Amounts], Planes]] = {
    "autocontrast": _autocontrast,
    "posterize": _posterize,
    "solarize": _solarize,
    "colour": _colour,
    "contrast": _contrast,
    "brightness": _brightness,
    "sharpness": _sharpness,
}


@dataclasses.dataclass(frozen=True)
class Chains:
    """A chain of changes for each image.

    A chain's geometric changes are one matrix, and come before its other changes: those look at single pixels, or
    at few about them, so that the order matters little, while each resampling costs time and sharpness.

    Attributes:
        names: (b, depth) of changes; "" for none.
        amounts: (b, depth), -1 to 1.
    """

    names: NDArray[np.str_]
    amounts: Amounts

    def transforms(self, height: int, width: int) -> geometry.Transforms:
        """The chains' geometric changes, for images of a height and a width in pixels."""
        product = np.eye(3)[None].repeat(len(self.names), axis=0)
        for names, amounts in zip(self.names.T, self.amounts.T.astype(np.float64), strict=True):
            angle, shear_x, shear_y, shift_x, shift_y = (np.where(names == name, amounts, 0) for name in _GEOMETRIC)
            product = product @ geometry.affine(
                angle=_ANGLE * angle,
                shear_x=_SHEAR * shear_x,
                shear_y=_SHEAR * shear_y,
                shift_x=_SHIFT * width * shift_x,
                shift_y=_SHIFT * height * shift_y,
            )
        return product

    def __call__(self, images: Images) -> Images:
        """The chains' other changes of images (b, h, w, c) in 0-255, which stay as they are: a new array."""
        changed = images.copy()
        for names, amounts in zip(self.names.T, self.amounts.T, strict=True):
            for name, change in _POINTWISE.items():
                chosen = names == name
                if chosen.any():
                    planes = np.ascontiguousarray(changed[chosen].transpose(0, 3, 1, 2))
                    changed[chosen] = change(planes, amounts[chosen]).transpose(0, 2, 3, 1)
        return changed


def randaugment(size: int, channels: int, strength: float, random: np.random.Generator) -> Chains:
    """Two changes for each image (arXiv 1909.13719), their amounts uniform up to `strength` either way.

    Args:
        size: images of the batch.
        channels: 3, or 1 for images without colour to change.
        strength: 0-1.
        random: drawn from.
    """
    pool = [name for name in (*_GEOMETRIC, *_POINTWISE) if name != "colour" or channels == 3]
    names = random.choice(pool, (size, _RANDAUGMENT_DEPTH))
    return Chains(names, strength * random.uniform(-1, 1, names.shape).astype(np.float32))


def augmix(images: Images, strength: float, random: np.random.Generator) -> Images:
    """Mix each image with the mixture of three chains of one to three changes of it (arXiv 1912.02781).

    Args:
        images: (b, h, w, c), 0-255.
        strength: of the changes, 0-1.
        random: drawn from.

    Returns:
        (b, h, w, c), 0-255: a new array.
    """
    size, height, width, _ = images.shape
    names = random.choice(_AUGMIX, (size * _AUGMIX_CHAINS, _AUGMIX_DEPTH))
    lengths = random.integers(1, _AUGMIX_DEPTH + 1, (len(names), 1))
    names = np.where(np.arange(_AUGMIX_DEPTH) < lengths, names, "")
    chains = Chains(names, strength * random.uniform(-1, 1, names.shape).astype(np.float32))
    copies, _ = geometry.warp(images.repeat(_AUGMIX_CHAINS, axis=0), None, chains.transforms(height, width))
    changed = chains(copies)
    share = random.random((size, 1))
    weights = (1 - share) * random.dirichlet(np.ones(_AUGMIX_CHAINS), size)
    mixed = images * share[:, :, None, None].astype(np.float32)
    for chain in range(_AUGMIX_CHAINS):
        mixed += changed[chain::_AUGMIX_CHAINS] * weights[:, chain, None, None, None].astype(np.float32)
    limited: Images = mixed.clip(0, 255)
    return limited
