"""Geometric changes: mirrors, and all affine transforms in one resampling."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.float32]
Masks = NDArray[np.integer[Any]]
# (b, 3, 3): affine, from output to input positions, in pixels from the image's centre, x before y.
Transforms = NDArray[np.float64]


def flip(
    images: NDArray[np.uint8], masks: Masks | None, mode: str, random: np.random.Generator
) -> tuple[NDArray[np.uint8], Masks | None]:
    """Mirror each image with probability 1/2 per axis; with `both` and square images, transpose half of them too.

    Mirrors and transpositions together make all eight symmetries of the square: `both` is for images
    without an up and a down. Keras' RandomFlip knows four of them with one layer per axis, and takes 19 ms for
    32 images of 96x96x3 where this takes 2.

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


def rotations_and_zooms(size: int, rotation: float, zoom: float, random: np.random.Generator) -> Transforms:
    """Random rotations and zooms about the centre.

    Args:
        size: images of the batch.
        rotation: largest turn to either side, in turns: 0.5 is any angle.
        zoom: largest relative change of size to either side.
        random: drawn from.
    """
    angles = random.uniform(-rotation, rotation, size)
    return affine(angle=angles * 2 * np.pi, scale=1 / random.uniform(1 - zoom, 1 + zoom, size))


def affine(
    angle: NDArray[np.float64] | float = 0.0,
    scale: NDArray[np.float64] | float = 1.0,
    shear_x: NDArray[np.float64] | float = 0.0,
    shear_y: NDArray[np.float64] | float = 0.0,
    shift_x: NDArray[np.float64] | float = 0.0,
    shift_y: NDArray[np.float64] | float = 0.0,
) -> Transforms:
    """Transforms of a batch from their parameters, numbers or (b,): shear, then rotation and scale, then shift.

    Args:
        angle: in radians; the image turns counterclockwise.
        scale: input pixels per output pixel.
        shear_x: how far x moves per y.
        shear_y: how far y moves per x.
        shift_x: pixels of the input to the right.
        shift_y: pixels of the input downwards.
    """
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    rows = np.broadcast_arrays(
        *(cosine - sine * shear_y, cosine * shear_x - sine, shift_x),
        *(sine + cosine * shear_y, sine * shear_x + cosine, shift_y),
        *(0.0, 0.0, 1.0),
    )
    return np.stack([np.atleast_1d(row) for row in rows], axis=-1).reshape(-1, 3, 3).astype(np.float64)


def warp(images: Images, masks: Masks | None, transforms: Transforms) -> tuple[Images, Masks | None]:
    """Transform each image and its mask; beyond its border the image is mirrored, so nothing turns black.

    Rotation, zoom and a policy's shears and shifts are one matrix and one resampling: Keras' layers RandomRotation,
    RandomZoom, RandomShear and RandomTranslation would sample, and soften, four times over at 12 ms each.

    Args:
        images: (b, h, w, c), sampled bilinearly.
        masks: (b, h, w), sampled at the nearest pixel: no class is invented; or None.
        transforms: (b, 3, 3); under an identity an image stays as it is.
    """
    moved = (np.abs(transforms - np.eye(3)) > 0).any(axis=(1, 2))
    if not moved.any():
        return images, masks
    vectors = _keras_vectors(transforms[moved], *images.shape[1:3])
    images = images.copy()
    images[moved] = _resample(images[moved], vectors, "bilinear")
    if masks is not None:
        masks = masks.copy()
        # class numbers are whole in float32, and the nearest one stays whole
        masks[moved] = _resample(masks[moved][..., None].astype(np.float32), vectors, "nearest")[..., 0]
    return images, masks


def _resample(pixels: Images, vectors: Images, interpolation: str) -> Images:
    from keras import ops

    sampled = ops.image.affine_transform(pixels, vectors, interpolation, "reflect", data_format="channels_last")
    result: Images = ops.convert_to_numpy(sampled)
    return result


def _keras_vectors(transforms: Transforms, height: int, width: int) -> Images:
    """As `keras.ops.image.affine_transform` takes them: (b, 8), from the upper left pixel."""
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    linear = transforms[:, :2, :2]
    shifts = transforms[:, :2, 2] + centre - linear @ centre
    rows = np.concatenate([linear, shifts[:, :, None]], axis=2).reshape(-1, 6)
    return np.pad(rows, ((0, 0), (0, 2))).astype(np.float32)
