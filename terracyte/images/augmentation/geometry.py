"""Geometric changes: mirrors and all other affine transforms, in one resampling."""

from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.float32]
Masks = NDArray[np.uint8]
# (b, 3, 3): affine, from output to input positions, in pixels from the image's centre, x before y.
Transforms = NDArray[np.float64]
Pixel = TypeVar("Pixel", np.float32, np.uint8)

_MIRROR_X, _MIRROR_Y = np.diag([-1.0, 1.0, 1.0]), np.diag([1.0, -1.0, 1.0])
_TRANSPOSE = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


def flips(size: int, mode: str, square: bool, random: np.random.Generator) -> Transforms:
    """Mirrors, each with probability 1/2 per axis; with `both` and square images, half of them transposed too.

    Mirrors and transpositions together make all eight symmetries of the square: `both` is for images
    without an up and a down. Keras' RandomFlip knows four of them, with one layer per axis.

    Args:
        size: images of the batch.
        mode: none, horizontal or both.
        square: whether the images are.
        random: drawn from.
    """
    horizontal = (random.random(size) < 0.5) & (mode != "none")
    vertical = (random.random(size) < 0.5) & (mode == "both")
    transposed = (random.random(size) < 0.5) & (mode == "both") & square
    return _where(horizontal, _MIRROR_X) @ _where(vertical, _MIRROR_Y) @ _where(transposed, _TRANSPOSE)


def _where(chosen: NDArray[np.bool_], transform: NDArray[np.float64]) -> Transforms:
    return np.where(chosen[:, None, None], transform, np.eye(3))


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


def warp(
    images: NDArray[np.uint8] | Images, masks: Masks | None, transforms: Transforms
) -> tuple[Images, Masks | None]:
    """Transform each image and its mask; beyond its border the image is mirrored, so nothing turns black.

    Mirrors, rotation, zoom and a policy's shears and shifts are one matrix and one resampling by OpenCV: 2 ms for 32
    images of 96x96x3. Keras' layers would sample, and soften, once for each, at 12 ms.

    Args:
        images: (b, h, w, c), sampled bilinearly.
        masks: (b, h, w), sampled at the nearest pixel: no class is invented; or None.
        transforms: (b, 3, 3); under an identity, mirrors and transpositions pixels keep their values.

    Returns:
        New arrays: images as float32, masks as they were.
    """
    moved = (transforms != np.eye(3)).any(axis=(1, 2))
    rows = _opencv_rows(transforms, *images.shape[1:3])
    warped, followed = np.empty(images.shape, np.float32), None if masks is None else masks.copy()
    for place, image in enumerate(images):
        if not moved[place]:
            warped[place] = image
            continue
        # OpenCV before 5 takes positions to 1/32 of a pixel, which whole ones survive
        _resample(image.astype(np.float32), warped[place], rows[place], cv2.INTER_LINEAR)
        if masks is not None and followed is not None:
            _resample(masks[place], followed[place], rows[place], cv2.INTER_NEAREST)
    return warped, followed


def _resample(pixels: NDArray[Pixel], into: NDArray[Pixel], rows: NDArray[np.float64], interpolation: int) -> None:
    """Fill `into`; OpenCV's 'reflect' repeats the pixel at the border."""
    height, width = into.shape[:2]
    cv2.warpAffine(
        pixels, rows, (width, height), into, interpolation | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT
    )


def _opencv_rows(transforms: Transforms, height: int, width: int) -> NDArray[np.float64]:
    """As `cv2.warpAffine` takes them: (b, 2, 3), in pixels from the upper left one."""
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    linear = transforms[:, :2, :2]
    shifts = transforms[:, :2, 2] + centre - linear @ centre
    return np.concatenate([linear, shifts[:, :, None]], axis=2)
