"""Random changes of training batches; labels and masks follow.

Everything here is a pure function of its arguments: a batch's randomness is drawn from the generator that
the caller seeds, never from a global state, so that a resumed training sees the same images.
"""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terracyte.params import Config

Images = NDArray[np.float32]
Targets = NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """The random changes that a configuration asks for.

    Attributes:
        config: `flip`, `rotation`, `zoom`, `brightness`, `contrast` and `cutmix` matter.
        dense: True: targets are masks (b, h, w); False: class shares (b, k).
    """

    config: Config
    dense: bool

    def __call__(
        self, images: NDArray[np.uint8], targets: Targets, random: np.random.Generator
    ) -> tuple[Images, Targets]:
        """Change a batch: first where things are, then how bright they are, then what is pasted over them.

        Args:
            images: (b, h, w, c), 0-255.
            targets: masks (b, h, w), integers, or class shares (b, k) float32.
            random: drawn from in a fixed order.

        Returns:
            Images (b, h, w, c) float32, 0-255, and targets of the given shape and dtype.
        """
        masks = targets if self.dense else None
        images, masks = flip(images, masks, self.config.flip, random)
        changed = images.astype(np.float32)
        if self.config.rotation or self.config.zoom:
            changed, masks = turn(changed, masks, self.config.rotation, self.config.zoom, random)
        changed = relight(changed, self.config.brightness, self.config.contrast, random)
        targets = targets if masks is None else masks
        if random.random() < self.config.cutmix:
            changed, targets = cutmix(changed, targets, self.dense, random)
        return changed, targets


def flip(
    images: NDArray[np.uint8], masks: Targets | None, mode: str, random: np.random.Generator
) -> tuple[NDArray[np.uint8], Targets | None]:
    """Mirror each image with probability 1/2 per axis; with `both` and square images, transpose half of them too.

    Mirrors and transpositions together make all eight symmetries of the square: `both` is for images
    without an up and a down.

    Args:
        images: (b, h, w, c).
        masks: (b, h, w), or None.
        mode: none, horizontal or both.
        random: drawn from.
    """
    size = len(images)
    horizontal = (random.random(size) < 0.5) & (mode != "none")
    vertical = (random.random(size) < 0.5) & (mode == "both")
    transposed = (random.random(size) < 0.5) & (mode == "both") & (images.shape[1] == images.shape[2])
    return _mirror(images, horizontal, vertical, transposed), (
        None if masks is None else _mirror(masks, horizontal, vertical, transposed)
    )


def _mirror(
    pixels: NDArray[Any],
    horizontal: NDArray[np.bool_],
    vertical: NDArray[np.bool_],
    transposed: NDArray[np.bool_],
) -> NDArray[Any]:
    pixels = pixels.copy()
    pixels[horizontal] = pixels[horizontal][:, :, ::-1]
    pixels[vertical] = pixels[vertical][:, ::-1]
    if transposed.any():
        pixels[transposed] = pixels[transposed].swapaxes(1, 2)
    return pixels


def turn(
    images: Images, masks: Targets | None, rotation: float, zoom: float, random: np.random.Generator
) -> tuple[Images, Targets | None]:
    """Rotate and zoom each image about its centre; the uncovered border mirrors the image, so it is never black.

    Args:
        images: (b, h, w, c) float32, sampled bilinearly.
        masks: (b, h, w) integers, sampled at the nearest pixel: no class is invented; or None.
        rotation: largest turn to either side, in turns: 0.5 is any angle.
        zoom: largest relative change of size to either side.
        random: drawn from.
    """
    from keras import ops

    size, height, width, _ = images.shape
    angle = random.uniform(-rotation, rotation, (size,)) * (2 * np.pi)
    scale = 1 / random.uniform(1 - zoom, 1 + zoom, (size,))
    transforms = centred_transforms(angle, scale, height, width)
    changed = ops.image.affine_transform(images, transforms, "bilinear", "reflect", data_format="channels_last")
    if masks is not None:
        plane = masks[..., None].astype(np.float32)
        plane = ops.image.affine_transform(plane, transforms, "nearest", "reflect", data_format="channels_last")
        masks = ops.convert_to_numpy(plane)[..., 0].astype(masks.dtype)
    return ops.convert_to_numpy(changed), masks


def centred_transforms(
    angle: NDArray[np.float64], scale: NDArray[np.float64], height: int, width: int
) -> NDArray[np.float32]:
    """Maps from output to input pixels, as `keras.ops.image.affine_transform` takes them: (b, 8).

    Args:
        angle: (b,) radians.
        scale: (b,) input pixels per output pixel.
        height: of the images, in pixels.
        width: of the images, in pixels.
    """
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    shift_x = centre_x - cosine * centre_x + sine * centre_y
    shift_y = centre_y - sine * centre_x - cosine * centre_y
    zero = np.zeros_like(angle)
    rows = [cosine, -sine, shift_x, sine, cosine, shift_y, zero, zero]
    return np.stack(rows, axis=1).astype(np.float32)


def relight(images: Images, brightness: float, contrast: float, random: np.random.Generator) -> Images:
    """Scale each image's grey values, and their distance from its mean.

    Args:
        images: (b, h, w, c), 0-255.
        brightness: largest relative change of the mean.
        contrast: largest relative change of the standard deviation.
        random: drawn from.
    """
    shape = (len(images), 1, 1, 1)
    brighter = random.uniform(1 - brightness, 1 + brightness, shape).astype(np.float32)
    steeper = random.uniform(1 - contrast, 1 + contrast, shape).astype(np.float32)
    if not (brightness or contrast):
        return images
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    changed = images * (brighter * steeper) + mean * (brighter - brighter * steeper)
    limited: Images = changed.clip(0, 255)
    return limited


def cutmix(images: Images, targets: Targets, dense: bool, random: np.random.Generator) -> tuple[Images, Targets]:
    """Paste a box of another image of the batch into each image (arXiv 1905.04899).

    One box for the whole batch, its area uniform in (0, 1), its centre anywhere (what hangs over is cut
    off). Masks are pasted likewise; class shares are mixed by the area.

    Args:
        images: (b, h, w, c).
        targets: masks (b, h, w) or class shares (b, k).
        dense: whether they are masks.
        random: drawn from.
    """
    height, width = images.shape[1:3]
    partner = random.permutation(len(images))
    edge = np.sqrt(random.random())
    top, bottom = _side(height, edge, random)
    left, right = _side(width, edge, random)
    images = images.copy()
    images[:, top:bottom, left:right] = images[partner, top:bottom, left:right]
    if dense:
        targets = targets.copy()
        targets[:, top:bottom, left:right] = targets[partner, top:bottom, left:right]
        return images, targets
    area = np.float32((bottom - top) * (right - left) / (height * width))
    return images, (1 - area) * targets + area * targets[partner]


def _side(length: int, share: float, random: np.random.Generator) -> tuple[int, int]:
    """First and last pixel of a box side of `share * length` pixels about a random centre."""
    centre, half = random.uniform(0, length), share * length / 2
    return max(0, round(centre - half)), min(length, round(centre + half))
