"""Shapes of cell nuclei, as signed distances in pixels."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.random import Generator

from terracyte.ingest.sample.canvas import Field, Point, around, capsule, ellipse, pick, union, wobbly

Shape = tuple[int, int]


def rounded(rng: Generator, shape: Shape, centre: Point, radius: float) -> Field:
    """Round to slightly oval."""
    return wobbly(rng, shape, centre, radius, wobble=0.04, stretch=pick(rng, (1.0, 1.3)))


def kidney(rng: Generator, shape: Shape, centre: Point, radius: float) -> Field:
    """Dented from one side."""
    body = wobbly(rng, shape, centre, radius, wobble=0.06, stretch=pick(rng, (1.0, 1.35)))
    return _dented(body, _dent(rng, shape, centre, radius, width=(0.3, 0.55)))


def folded(rng: Generator, shape: Shape, centre: Point, radius: float) -> Field:
    """Irregular, with one or two narrow clefts."""
    body = wobbly(rng, shape, centre, radius, wobble=0.14, stretch=pick(rng, (1.0, 1.6)))
    for _ in range(rng.integers(1, 3)):
        body = _dented(body, _dent(rng, shape, centre, radius, width=(0.14, 0.32)))
    return body


def band(rng: Generator, shape: Shape, centre: Point, radius: float) -> Field:
    """A thick bent ribbon in the shape of a C or U."""
    turns = np.linspace(0, pick(rng, (2.6, 4.4)), 6)
    start, thickness = rng.uniform(0, 2 * np.pi), radius * pick(rng, (0.27, 0.36))
    joints = [around(centre, start + turn, radius * pick(rng, (0.58, 0.74))) for turn in turns]
    return union([capsule(shape, a, b, thickness) for a, b in pairwise(joints)], 1.5)


def lobed(rng: Generator, shape: Shape, centre: Point, radius: float) -> Field:
    """Three to five lobes on a chain of thin threads."""
    return _chain(rng, shape, centre, radius, lobes=int(rng.integers(3, 6)), size=(0.33, 0.44))


def bilobed(rng: Generator, shape: Shape, centre: Point, radius: float) -> Field:
    """Two large lobes, seldom three, joined by a thread."""
    return _chain(rng, shape, centre, radius, lobes=int(rng.choice([2, 2, 2, 2, 3])), size=(0.44, 0.56))


NUCLEI: dict[str, Callable[[Generator, Shape, Point, float], Field]] = {
    function.__name__: function for function in (rounded, kidney, folded, band, lobed, bilobed)
}


def _dent(rng: Generator, shape: Shape, centre: Point, radius: float, width: tuple[float, float]) -> Field:
    angle = rng.uniform(0, 2 * np.pi)
    rim = around(centre, angle, radius * pick(rng, (0.85, 1.15)))
    return ellipse(shape, rim, (radius * pick(rng, (0.5, 0.75)), radius * pick(rng, width)), angle)


def _dented(body: Field, dent: Field) -> Field:
    return np.negative(union([np.negative(body), dent], 0.8))


def _chain(rng: Generator, shape: Shape, centre: Point, radius: float, lobes: int, size: tuple[float, float]) -> Field:
    # Fewer lobes lie further apart on the ring; jitter keeps the ring from showing.
    step = {2: (1.6, 3.1), 3: (1.3, 1.9), 4: (1.0, 1.4), 5: (0.9, 1.15)}[lobes]
    angle, centres = rng.uniform(0, 2 * np.pi), []
    for _ in range(lobes):
        centres.append(around(centre, angle, radius * pick(rng, (0.5, 0.72))))
        angle += pick(rng, step)
    parts = []
    for at in centres:
        lobe = radius * pick(rng, size)
        parts.append(wobbly(rng, shape, at, lobe, wobble=0.07, stretch=pick(rng, (1.0, 1.6))))
    threads = [capsule(shape, a, b, radius * pick(rng, (0.04, 0.14))) for a, b in pairwise(centres)]
    return union([*parts, *threads], 0.7)
