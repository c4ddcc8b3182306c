"""Martian terrain as a rover's navigation camera sees it, with masks as annotators draw them.

Textures, shapes and pixel shares follow the MSL strips of AI4Mars (Swan et al. 2021, CVPR workshops).
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from terracyte.ingest.sample import rover
from terracyte.ingest.sample.canvas import Field, coverage, grid, noise, pick, to_bytes, wobbly
from terracyte.ingest.sample.ground import (
    HEIGHT,
    SHAPE,
    WIDTH,
    Bedrock,
    Boulder,
    Camera,
    Sand,
    Soil,
    Terrain,
    View,
    noise_table,
)

CLASSES = ("background", "soil", "bedrock", "sand", "big rock")
BACKGROUND, SOIL, BEDROCK, SAND, BIG_ROCK = range(5)
TERRAINS: dict[int, type[Terrain]] = {SOIL: Soil, BEDROCK: Bedrock, SAND: Sand}

Mask = NDArray[np.uint8]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """What the annotated pictures of a place show.

    Attributes:
        terrains: labels of the terrains in view; the first one tends to cover the most.
        boulders: number of big rocks.
        rover: whether a part of the rover stands in the picture.
        shadow: whether the rover's shadow falls on the ground (annotators label the ground under it).
        left_out: what the annotators left unlabelled, as names of `LEFT_OUT`.
    """

    terrains: tuple[int, ...]
    boulders: int = 0
    rover: bool = False
    shadow: bool = False
    left_out: tuple[str, ...] = ()


def random_place(rng: Generator, boulder: bool) -> Place:
    """Draw a place with the frequencies of real ones; `boulder` says whether big rocks are in view."""
    order = rng.choice([SOIL, BEDROCK, SAND], 3, replace=False, p=[0.41, 0.46, 0.13])
    count = int(rng.choice([1, 2, 3], p=[0.58, 0.33, 0.09]))
    odds = {"seams": 0.4, "far": 0.45, "patch": 0.45, "edges": 0.95}
    return Place(
        terrains=tuple(int(label) for label in order[:count]),
        boulders=int(rng.integers(1, 4)) if boulder else 0,
        rover=bool(rng.random() < 0.35),
        shadow=bool(rng.random() < 0.08),
        left_out=tuple(name for name, chance in odds.items() if rng.random() < chance),
    )


class Scene:
    """A place under one illumination; `photograph` shows it from positions along a drive."""

    def __init__(self, seed: tuple[int, ...], place: Place) -> None:
        rng = np.random.default_rng(seed)
        self._seed, self._place = seed, place
        table = noise_table(rng)
        self._surfaces = {label: TERRAINS[label](rng, table) for label in place.terrains}
        self._camera = Camera(float(np.exp(rng.uniform(np.log(14), np.log(130)))), pick(rng, (1.0, 2.0)))
        self._stride = (pick(rng, (-6, 6)), float(rng.choice([-1, 1])) * pick(rng, (14, 26)))
        self._boulders = [Boulder(rng, self._camera) for _ in range(place.boulders)]
        self._sun = -pick(rng, (0.35, 2.8))  # light comes from above: from below, stones look like holes
        self._exposure = float(np.clip(rng.normal(67, 17), 36, 98))

    def photograph(self, frame: int = 0) -> tuple[NDArray[np.uint8], Mask]:
        """Draw the image (64, 128, 1) and the mask (64, 128) from position number `frame` of the drive."""
        camera = dataclasses.replace(self._camera, y=self._stride[0] * frame, x=self._stride[1] * frame)
        relief, tone, labels = self._draw_ground(camera.view())
        for boulder in self._boulders:
            self._draw_boulder(boulder, camera, relief, tone, labels)
        down, right = np.gradient(relief)
        towards_sun = -(np.sin(self._sun) * down + np.cos(self._sun) * right)
        light = np.asarray(np.clip(1 + 0.55 * towards_sun, 0.3, 1.9), np.float32)
        image = (self._exposure * tone * light)[..., None]
        # The rover's parts keep their place in the picture from frame to frame, while the ground moves.
        fixed = np.random.default_rng((*self._seed, 1))
        if self._place.shadow:
            rover.cast_shadow(fixed, image)
        if self._place.rover:
            labels[rover.paint_part(fixed, image) < 1] = BACKGROUND
        moving = np.random.default_rng((*self._seed, 2, frame))
        for name in self._place.left_out:
            labels[LEFT_OUT[name](moving, labels)] = BACKGROUND
        return _expose(moving, image), labels

    def _draw_ground(self, view: View) -> tuple[Field, Field, Mask]:
        """Return the relief in pixels, the tone and the labels of the bare ground."""
        layout = next(iter(self._surfaces.values()))
        # Each terrain has a coarse noise field, and the highest one gets the pixel; the first terrain is favoured.
        moved = [dataclasses.replace(view, y=view.y + 1000 * k) for k in range(len(self._surfaces))]
        claims = np.stack([layout.rough(at, 110, 2) + 0.5 * (k == 0) for k, at in enumerate(moved)])
        weights = np.exp(12 * (claims - claims.max(axis=0)))
        weights /= weights.sum(axis=0)
        surfaces = np.array([surface.surface(view) for surface in self._surfaces.values()])
        height, tone = (weights[:, None] * surfaces).sum(axis=0)
        labels = np.asarray(list(self._surfaces), np.uint8)[claims.argmax(axis=0)]
        return np.asarray(height / view.distance, np.float32), np.asarray(tone, np.float32), labels

    def _draw_boulder(self, boulder: Boulder, camera: Camera, relief: Field, tone: Field, labels: Mask) -> None:
        distance, dome = boulder.seen(camera)
        behind = boulder.seen(camera, shift=(-np.sin(self._sun), -np.cos(self._sun)))[0]
        tone *= 1 - 0.6 * coverage(behind, 2)
        body = coverage(distance)
        tone += body * (0.85 - tone)
        relief += body * (dome - relief)
        labels[distance < 0] = BIG_ROCK


def _expose(rng: Generator, image: NDArray[np.float32]) -> NDArray[np.uint8]:
    rows, columns = grid(*SHAPE)
    vignette = 1 - 0.12 * (((columns - WIDTH / 2) / WIDTH) ** 2 * 4 + ((rows - HEIGHT / 2) / HEIGHT) ** 2)
    focused = ndimage.gaussian_filter(image, (0.4, 0.4, 0)) * vignette[..., None] * rng.normal(1, 0.06)
    return to_bytes(focused + rng.normal(0, 0.8, image.shape))


def _seams(rng: Generator, labels: Mask) -> NDArray[np.bool_]:
    """The line between two terrains, where annotators' polygons do not touch."""
    width = int(rng.integers(1, 3)) * 2 + 1
    return np.asarray(ndimage.maximum_filter(labels, width) != ndimage.minimum_filter(labels, width))


def _far(rng: Generator, labels: Mask) -> NDArray[np.bool_]:
    """A strip along the upper edge, too far away to label."""
    rows, _ = grid(*SHAPE)
    border = pick(rng, (4, 26)) + pick(rng, (0, 1.5)) * noise(rng, (1, WIDTH), 6)
    return np.asarray(rows < border)


def _patch(rng: Generator, labels: Mask) -> NDArray[np.bool_]:
    """One or two patches that annotators forgot, or could not decide on."""
    forgotten = np.zeros(SHAPE, np.bool_)
    for _ in range(rng.integers(1, 3)):
        at = (rng.uniform(0, HEIGHT), rng.uniform(0, WIDTH))
        forgotten |= wobbly(rng, SHAPE, at, pick(rng, (4, 26)), wobble=0.4, stretch=pick(rng, (1, 2.5))) < 0
    return forgotten


def _edges(rng: Generator, labels: Mask) -> NDArray[np.bool_]:
    """The outermost column on the left, and often that on the right, as in nearly all real masks."""
    _, columns = grid(*SHAPE)
    last = WIDTH - 1 if rng.random() < 0.5 else WIDTH
    return np.asarray((columns == 0) | (columns == last))


def _everything(rng: Generator, labels: Mask) -> NDArray[np.bool_]:
    """All pixels."""
    return np.ones(SHAPE, np.bool_)


LEFT_OUT: dict[str, Callable[[Generator, Mask], NDArray[np.bool_]]] = {
    "seams": _seams,
    "far": _far,
    "patch": _patch,
    "edges": _edges,
    "everything": _everything,
}
