"""The surroundings of a cell on a blood smear (stained slide, red cells, debris), and the camera."""

import dataclasses

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from terracyte.ingest.sample.canvas import Field, around, coverage, ellipse, noise, paint, pick, wobbly

SIZE = 96
SHAPE = (SIZE, SIZE)
CENTRE = (SIZE - 1) / 2

Colour = tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class Stain:
    """Colours of one slide (0-255), and its focus.

    Attributes:
        slide: colour of the empty slide.
        red_cell: colour of a red cell's rim; its middle is paler.
        gain: factor on the colours of the central cell, per channel.
        blur: standard deviation of the whole image's Gaussian blur, in pixels.
    """

    slide: Colour
    red_cell: Colour
    gain: Colour
    blur: float


def stain(rng: Generator, bluish: bool) -> Stain:
    """Draw a slide's stain: the usual cream, or the rare bluish one of a few genuine slides."""
    if bluish:
        return Stain(_vary_colour(rng, (222, 222, 237)), _vary_colour(rng, (187, 182, 203)), (0.95, 0.97, 1.15), 0.9)
    red, green, blue = rng.normal(1, 0.035, 3)
    blur = pick(rng, (0.9, 1.5)) if rng.random() < 0.08 else pick(rng, (0.3, 0.6))
    return Stain(_vary_colour(rng, (250, 224, 200), 2), _vary_colour(rng, (199, 167, 161), 6), (red, green, blue), blur)


def slide(rng: Generator, colours: Stain, clearance: float) -> NDArray[np.float32]:
    """Draw the slide (SIZE, SIZE, 3); red cells leave a disc of about `clearance` pixels radius free in the middle."""
    image = np.empty((*SHAPE, 3), np.float32)
    image[:] = colours.slide
    image += noise(rng, SHAPE, 18)[..., None] * 1.2
    start = rng.uniform(0, 2 * np.pi)
    for turn in np.arange(0, 2 * np.pi - 0.5, pick(rng, (0.8, 1.5))):
        _draw_red_cell(rng, image, colours, start + turn + rng.normal(0, 0.12), clearance)
    if rng.random() < 0.25:
        _draw_debris(rng, image)
    return image


def photograph(rng: Generator, image: NDArray[np.float32], colours: Stain) -> NDArray[np.float32]:
    """Apply the blur, exposure, tint and sensor noise of one photograph."""
    sharp = ndimage.gaussian_filter(image, (colours.blur, colours.blur, 0))
    exposure, tint = rng.normal(1, 0.02), rng.normal(1, 0.004, 3)
    grain = rng.standard_normal(image.shape, dtype=np.float32) * pick(rng, (0.6, 1.6))
    return np.asarray(sharp * exposure * tint + grain, np.float32)


def _vary_colour(rng: Generator, colour: Colour, spread: float = 3.0) -> Colour:
    common = rng.normal(0, spread)
    red, green, blue = (channel + common + rng.normal(0, spread / 2) for channel in colour)
    return red, green, blue


def _draw_red_cell(rng: Generator, image: NDArray[np.float32], colours: Stain, angle: float, clearance: float) -> None:
    radius = pick(rng, (14.5, 19.0))
    centre = around((CENTRE, CENTRE), angle, max(clearance, 16) + radius * pick(rng, (0.95, 1.8)))
    distance = wobbly(rng, SHAPE, centre, radius, wobble=0.05, stretch=pick(rng, (1.0, 1.35)))
    # Thickness of the biconcave disc: highest in a ring, low in the middle, none outside.
    pallor = pick(rng, (0.0, 0.9)) * np.exp(-(((distance + radius) / (0.48 * radius)) ** 4))
    rim = 0.15 * np.exp(-(((distance + 1.5) / 1.5) ** 2))
    thickness = coverage(distance, 1.8) * (0.9 - pallor + rim)
    # Light passes through overlapping cells one after the other: their transmittances multiply.
    absorbed = 1 - np.asarray(colours.red_cell) / np.asarray(colours.slide)
    image *= 1 - thickness[..., None] * absorbed.astype(np.float32)


def _draw_debris(rng: Generator, image: NDArray[np.float32]) -> None:
    at = around((CENTRE, CENTRE), rng.uniform(0, 2 * np.pi), pick(rng, (36, 50)))
    radius = pick(rng, (1.0, 5.0))
    speck: Field = ellipse(SHAPE, at, (radius, radius * pick(rng, (0.6, 1.0))), rng.uniform(0, np.pi))
    paint(image, coverage(speck + noise(rng, SHAPE, 1), 2) * 0.85, (112, 70, 145))
