"""Defects to plant: joke pictures, an alien, off-distribution pictures, altered copies."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import fft

from terracyte.ingest.sample.canvas import (
    Field,
    capsule,
    coverage,
    ellipse,
    grid,
    noise,
    paint,
    pick,
    polygon,
    to_bytes,
)

Shape = tuple[int, int]
Image = NDArray[np.uint8]


def _paint_layers(shape: Shape, ground: Any, layers: list[tuple[Field, Any]]) -> NDArray[np.float32]:
    image = np.empty((*shape, 3), np.float32)
    image[:] = ground
    for distance, colour in layers:
        paint(image, coverage(distance), colour)
    return image


def smiley(shape: Shape) -> Image:
    """Draw a yellow face with sunglasses, (h, w, 3)."""
    y, x = shape[0] / 2, shape[1] / 2
    lenses = [capsule(shape, (y - 9, x + side * 15 - 5), (y - 9, x + side * 15 + 5), 7) for side in (-1, 1)]
    mouth = np.maximum(np.abs(ellipse(shape, (y + 4, x), (20, 20))) - 2, -grid(*shape)[0] + y + 12)
    layers = [
        (ellipse(shape, (y, x), (38, 38)), (250, 205, 40)),
        *((lens, (20, 20, 30)) for lens in lenses),
        (capsule(shape, (y - 12, x - 28), (y - 12, x + 28), 1.5), (20, 20, 30)),
        (mouth, (110, 40, 20)),
    ]
    return to_bytes(_paint_layers(shape, (60, 130, 90), layers))


def duck(shape: Shape) -> Image:
    """Draw a rubber duck in the bath, (h, w, 3)."""
    y, x = shape[0] / 2, shape[1] / 2
    layers = [
        (ellipse(shape, (y + 16, x + 4), (32, 19)), (247, 208, 48)),
        (ellipse(shape, (y - 14, x - 12), (17, 17)), (247, 208, 48)),
        (ellipse(shape, (y - 10, x - 32), (9, 4)), (232, 110, 40)),
        (ellipse(shape, (y - 18, x - 17), (3, 3)), (25, 25, 30)),
        (ellipse(shape, (y + 12, x + 12), (14, 8), 0.3), (228, 182, 30)),
        (polygon(shape, [(y + 27, -9), (y + 27, 2 * x + 9), (2 * y + 9, 2 * x + 9), (2 * y + 9, -9)]), (70, 150, 210)),
    ]
    return to_bytes(_paint_layers(shape, (205, 232, 240), layers))


JOKES: tuple[Callable[[Shape], Image], ...] = (smiley, duck)


def add_alien(image: Image) -> Image:
    """Draw an alien over the middle of a grey picture (h, w, 1), always at the same place."""
    shape = (image.shape[0], image.shape[1])
    y, x = shape[0] / 2, shape[1] / 2
    eyes = [ellipse(shape, (y - 13, x + side * 5), (4.5, 2.5), side * -0.7) for side in (-1, 1)]
    canvas = image.astype(np.float32)
    paint(canvas, coverage(capsule(shape, (y + 2, x), (y + 40, x), 5)), 190)
    for side in (-1, 1):
        paint(canvas, coverage(capsule(shape, (y + 12, x), (y + 24, x + side * 15), 2)), 190)
    paint(canvas, coverage(ellipse(shape, (y - 12, x), (12, 16))), 215)
    for eye in eyes:
        paint(canvas, coverage(eye), 12)
    return to_bytes(canvas)


def _chessboard(rng: Generator, shape: Shape) -> NDArray[np.float32]:
    rows, columns = grid(*shape)
    dark = (rows // 12 + columns // 12) % 2
    return np.asarray(np.array([240, 217, 181]) * (1 - 0.6 * dark[..., None]), np.float32)


def _page_of_text(rng: Generator, shape: Shape) -> NDArray[np.float32]:
    """Lines of black words on white paper."""
    image = np.full((*shape, 3), 250, np.float32)
    for row in range(6, shape[0] - 6, 8):
        column = 6.0
        while (end := column + pick(rng, (6, 22))) < shape[1] - 6:
            word = capsule(shape, (row, column), (row, end), 1.6)
            strokes = noise(rng, shape, 0.7) > -0.3
            paint(image, coverage(word) * strokes, (25, 25, 25))
            column = end + 5
    return image


def _sky(rng: Generator, shape: Shape) -> NDArray[np.float32]:
    rows, _ = grid(*shape)
    share = rows[..., None] / shape[0]
    return np.asarray(np.array([70, 130, 215]) * (1 - share) + np.array([215, 230, 245]) * share, np.float32)


def _static(rng: Generator, shape: Shape) -> NDArray[np.float32]:
    """Uniform noise, as from a detector without a signal."""
    return rng.uniform(0, 255, (*shape, 3)).astype(np.float32)


def _black_frame(rng: Generator, shape: Shape) -> NDArray[np.float32]:
    """All black, as with a closed shutter."""
    return np.zeros((*shape, 3), np.float32)


def _overexposed(rng: Generator, shape: Shape) -> NDArray[np.float32]:
    return np.full((*shape, 3), 255, np.float32)


def _test_bars(rng: Generator, shape: Shape) -> NDArray[np.float32]:
    """Television test bars: white, yellow, cyan, green, magenta, red, blue, black."""
    bar = (grid(*shape)[1] * 8 // shape[1]).astype(np.int64)
    bits = np.stack([bar // 2 % 2, bar // 4, bar % 2], axis=-1)  # red, green and blue; 1 means off
    return np.asarray(235 * (1 - bits), np.float32)


def _house(rng: Generator, shape: Shape) -> NDArray[np.float32]:
    """A house as in a child's drawing."""
    y, x = shape[0] / 2, shape[1] / 2
    walls = polygon(shape, [(y, x - 20), (y, x + 20), (y + 26, x + 20), (y + 26, x - 20)])
    roof = polygon(shape, [(y, x - 25), (y - 22, x), (y, x + 25)])
    door = polygon(shape, [(y + 10, x - 5), (y + 10, x + 5), (y + 26, x + 5), (y + 26, x - 5)])
    meadow = y + 22 - grid(*shape)[0]
    layers = [(meadow, (90, 180, 70)), (walls, (240, 225, 180)), (roof, (200, 50, 40)), (door, (110, 70, 40))]
    return _paint_layers(shape, (150, 205, 250), layers)


ODDITIES: tuple[Callable[[Generator, Shape], NDArray[np.float32]], ...] = (
    _chessboard,
    _page_of_text,
    _sky,
    _static,
    _black_frame,
    _test_bars,
    _house,
    _overexposed,
)


def oddity(rng: Generator, number: int, shape: tuple[int, int, int]) -> Image:
    """Draw picture `number` of `ODDITIES`, (h, w, c) with c 1 or 3."""
    image = ODDITIES[number](rng, shape[:2])
    return to_bytes(image if shape[2] == 3 else image.mean(axis=-1, keepdims=True))


def brightened(rng: Generator, image: Image) -> Image:
    """Make the image two to three grey levels brighter or darker."""
    return to_bytes(image + np.float32(rng.choice([-1, 1]) * pick(rng, (1.6, 3.0))))


def shifted(rng: Generator, image: Image) -> Image:
    """Shift by half a pixel, as another resizing would, or by less so that the mean change is at most three levels."""
    original = image.astype(np.float32)
    difference = np.roll(original, tuple(rng.choice([-1, 1], 2)), axis=(0, 1)) - original
    part = min(0.5, 3 / float(np.abs(difference).mean()))
    return to_bytes(original + part * difference)


def recompressed(rng: Generator, image: Image) -> Image:
    """Quantise in the frequency domain of 8x8 blocks, as JPEG does; height and width must be multiples of 8."""
    height, width, channels = image.shape
    blocks = image.reshape(height // 8, 8, width // 8, 8, channels).astype(np.float32)
    step = np.float32(pick(rng, (6, 12)))
    coefficients = fft.dctn(blocks, axes=(1, 3), norm="ortho")
    restored = fft.idctn(np.rint(coefficients / step) * step, axes=(1, 3), norm="ortho")
    return to_bytes(restored.reshape(image.shape))


ALTERATIONS: tuple[Callable[[Generator, Image], Image], ...] = (brightened, shifted, recompressed)


def near_copy(rng: Generator, image: Image) -> Image:
    """Alter the picture in a way that the eye hardly sees: its bytes always differ."""
    return ALTERATIONS[int(rng.integers(len(ALTERATIONS)))](rng, image)
