"""Drawing on arrays: signed distances to shapes, their antialiased coverage, smooth noise.

Coordinates and lengths are in pixels. A distance is negative inside a shape. Fields are (h, w) float32,
images (h, w, c) float32 in 0-255.
"""

import functools
from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

Field = NDArray[np.float32]
Range = tuple[float, float]
Point = tuple[float, float]


@functools.cache
def grid(height: int, width: int) -> tuple[Field, Field]:
    """Return the row and the column of each pixel's centre, read-only."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    rows.flags.writeable = columns.flags.writeable = False
    return rows, columns


def pick(rng: Generator, bounds: Range) -> float:
    """Draw a number uniformly from a range."""
    return float(rng.uniform(*bounds))


def around(centre: Point, angle: float, distance: float) -> Point:
    """Return the point at `distance` from `centre` in direction `angle` (radians)."""
    return centre[0] + distance * float(np.sin(angle)), centre[1] + distance * float(np.cos(angle))


def noise(rng: Generator, shape: tuple[int, int], scale: float) -> Field:
    """Smooth noise with mean 0, standard deviation 1 and grains of about `scale` pixels."""
    field = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), scale, mode="wrap")
    return np.asarray((field - field.mean()) / field.std(), np.float32)


def ellipse(shape: tuple[int, int], centre: Point, radii: tuple[float, float], angle: float = 0.0) -> Field:
    """Return the distance to an ellipse with its first axis at `angle` (exact for circles, else approximate)."""
    rows, columns = grid(*shape)
    down, right = rows - centre[0], columns - centre[1]
    along = right * np.cos(angle) + down * np.sin(angle)
    across = down * np.cos(angle) - right * np.sin(angle)
    scaled = np.hypot(along / radii[0], across / radii[1])
    return np.asarray((scaled - 1) * min(radii), np.float32)


def wobbly(
    rng: Generator, shape: tuple[int, int], centre: Point, radius: float, wobble: float, stretch: float = 1.0
) -> Field:
    """Return the distance to a rounded blob: a stretched circle whose radius varies by about the fraction `wobble`."""
    rows, columns = grid(*shape)
    down, right = rows - centre[0], columns - centre[1]
    angle = np.arctan2(down, right)
    relative = np.ones(shape, np.float32)
    turn = rng.uniform(0, np.pi)
    relative += (np.sqrt(stretch) - 1) * np.cos(2 * (angle - turn))
    for waves in range(2, 7):
        relative += wobble * rng.normal() / waves * np.cos(waves * angle + rng.uniform(0, 2 * np.pi))
    return np.asarray(np.hypot(down, right) - radius * relative, np.float32)


def capsule(shape: tuple[int, int], start: Point, end: Point, radius: float) -> Field:
    """Return the distance to a straight stroke with round ends."""
    rows, columns = grid(*shape)
    down, right = end[0] - start[0], end[1] - start[1]
    length_squared = max(down * down + right * right, 1e-6)
    along = np.clip(((rows - start[0]) * down + (columns - start[1]) * right) / length_squared, 0, 1)
    nearest = np.hypot(rows - start[0] - along * down, columns - start[1] - along * right)
    return np.asarray(nearest - radius, np.float32)


def polygon(shape: tuple[int, int], corners: Sequence[Point]) -> Field:
    """Return the distance to a convex polygon whose corners are in clockwise order on the screen."""
    rows, columns = grid(*shape)
    distance = np.full(shape, -np.inf, np.float32)
    for (y, x), (next_y, next_x) in zip(corners, [*corners[1:], corners[0]], strict=True):
        length = float(np.hypot(next_y - y, next_x - x))
        outward = ((columns - x) * (next_y - y) - (rows - y) * (next_x - x)) / length
        distance = np.maximum(distance, outward)
    return distance


def union(distances: Sequence[Field], softness: float = 1.0) -> Field:
    """Return the distance to the union of shapes, blended smoothly over about `softness` pixels."""
    total = np.sum([np.exp(-np.clip(distance, -60, 60) / softness) for distance in distances], axis=0)
    return np.asarray(-softness * np.log(total + 1e-30), np.float32)


def coverage(distance: Field, softness: float = 1.0) -> Field:
    """Return the share of each pixel that the shape covers, 0-1; the shape's edge is `softness` pixels wide."""
    return np.asarray(np.clip(0.5 - distance / softness, 0, 1), np.float32)


def paint(image: NDArray[np.float32], covered: Field | float, colour: ArrayLike) -> None:
    """Blend `colour` (c values, or an image) into `image` in place with the opacity `covered` (0-1)."""
    opacity = np.asarray(covered, np.float32)[..., None]
    image += opacity * (np.asarray(colour, np.float32) - image)


def to_bytes(image: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Round to uint8 and clip to 0-255."""
    return np.asarray(np.clip(np.rint(image), 0, 255), np.uint8)
