"""Parts of the rover that stand in the picture: deck, wheel, arm. Annotators leave them unlabelled."""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from terracyte.ingest.sample.canvas import Field, capsule, coverage, ellipse, grid, noise, paint, pick, polygon

Shape = tuple[int, int]


def paint_part(rng: Generator, image: NDArray[np.float32]) -> Field:
    """Paint one part over `image` (h, w, 1), and return its signed distance."""
    part = _PARTS[int(rng.integers(len(_PARTS)))]
    return part(rng, image)


def _deck(rng: Generator, image: NDArray[np.float32]) -> Field:
    """A deck along the lower edge: panels, gaps and a bright label."""
    shape = height, _ = image.shape[0], image.shape[1]
    left, right = pick(rng, (-20, 45)), pick(rng, (70, 150))
    top, slope = height - pick(rng, (10, 30)), pick(rng, (-10, 10))
    corners = [(top, left), (top + slope, right), (height + 9, right + pick(rng, (0, 18))), (height + 9, left - 12)]
    distance = polygon(shape, corners)
    paint(image, coverage(distance), pick(rng, (55, 85)))
    for column in np.arange(left, right, pick(rng, (9, 18))):
        gap = capsule(shape, (top, float(column)), (height + 9, float(column) + pick(rng, (-6, 6))), 0.8)
        paint(image, coverage(np.maximum(gap, distance)), pick(rng, (12, 35)))
    lid = ellipse(shape, (top + 9, pick(rng, (left, right))), (6, 4))
    paint(image, coverage(np.maximum(lid, distance)), pick(rng, (20, 110)))
    label = capsule(shape, (top + 5, left + 12), (top + 5 + slope / 9, left + 18), 1.6)
    paint(image, coverage(np.maximum(label, distance)), pick(rng, (130, 190)))
    return distance


def _wheel(rng: Generator, image: NDArray[np.float32]) -> Field:
    """A dark drum with treads at one side, half cut off."""
    shape = _, width = image.shape[0], image.shape[1]
    side = rng.choice([-1, 1])
    centre = (pick(rng, (18, 50)), width / 2 + side * pick(rng, (40, 62)))
    radii = (pick(rng, (17, 24)), pick(rng, (20, 30)))
    distance = ellipse(shape, centre, radii, pick(rng, (-0.4, 0.4)))
    rows, columns = grid(*shape)
    treads = np.sin((rows - centre[0]) * pick(rng, (0.9, 1.3)) + 2 * np.sin((columns - centre[1]) * 0.4))
    drum = 40 + 20 * treads - 1.2 * (rows - centre[0]) + 8 * noise(rng, shape, 2)
    paint(image, coverage(distance), drum[..., None])
    strut = capsule(shape, centre, (-8.0, centre[1] + side * 22), 5)
    paint(image, coverage(strut), pick(rng, (16, 40)))
    return np.minimum(distance, strut)


def _arm(rng: Generator, image: NDArray[np.float32]) -> Field:
    """A tube from the upper edge, and the dark turret with its instruments at the tube's end."""
    shape = _, width = image.shape[0], image.shape[1]
    root, elbow = (-6.0, pick(rng, (10, width - 10))), (pick(rng, (12, 34)), pick(rng, (30, width - 30)))
    tube = capsule(shape, root, elbow, pick(rng, (4, 7)))
    paint(image, coverage(tube), (pick(rng, (25, 60)) + 18 * noise(rng, shape, 3))[..., None])
    glint = capsule(shape, (root[0], root[1] + 2), (elbow[0], elbow[1] + 2), 1.2)
    paint(image, coverage(glint) * 0.8, pick(rng, (90, 170)))
    turret = ellipse(shape, elbow, (pick(rng, (9, 15)), pick(rng, (7, 12))), rng.uniform(0, np.pi))
    turret += 2.5 * noise(rng, shape, 2)
    paint(image, coverage(turret), (28 + 14 * np.abs(noise(rng, shape, 1.3)))[..., None])
    return np.minimum(tube, turret)


_PARTS: tuple[Callable[[Generator, NDArray[np.float32]], Field], ...] = (_deck, _wheel, _arm)


def cast_shadow(rng: Generator, image: NDArray[np.float32]) -> None:
    """Darken the ground by the shadow of the mast with its camera head."""
    shape = height, width = image.shape[0], image.shape[1]
    foot, head = (height + 6.0, pick(rng, (20, width - 20))), (pick(rng, (8, 30)), pick(rng, (15, width - 15)))
    mast = capsule(shape, foot, head, 2.5)
    camera = capsule(shape, (head[0], head[1] - 8), (head[0], head[1] + 8), pick(rng, (4, 7)))
    image *= 1 - 0.5 * coverage(np.minimum(mast, camera), 2)[..., None]
