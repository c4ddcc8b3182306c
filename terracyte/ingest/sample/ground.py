"""The ground that a rover's camera looks down on: perspective, and the relief and tone of each terrain.

Lengths on the ground are in pixels of the image's lowest row, where one ground unit covers one pixel.
"""

import abc
import dataclasses

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from terracyte.ingest.sample.canvas import Field, Range, grid, noise, pick

HEIGHT, WIDTH = 64, 128
SHAPE = (HEIGHT, WIDTH)

_TABLE = 256  # edge length of the noise tables, in cells; the noise repeats beyond it


@dataclasses.dataclass(frozen=True)
class View:
    """Where each pixel looks at the ground.

    Attributes:
        y, x: (h, w) position on the ground.
        distance: (h, w) distance from the camera, 1 in the lowest row; a pixel covers `distance` ground units.
    """

    y: Field
    x: Field
    distance: Field


@dataclasses.dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks down at flat ground.

    Attributes:
        horizon: rows between the image's upper edge and the horizon above it, > 0; the fewer, the farther it sees.
        tilt: ground units that the lowest row covers in depth, at least 1.
        y, x: the camera's position on the ground.
    """

    horizon: float
    tilt: float
    y: float = 0.0
    x: float = 0.0

    def view(self) -> View:
        """Return where each pixel looks at the ground."""
        rows, columns = grid(*SHAPE)
        distance = np.asarray(self._reach / (rows + self.horizon), np.float32)
        y = self.y - self.tilt * self._reach * distance
        return View(y, self.x + (columns - WIDTH / 2) * distance, distance)

    def ground(self, row: float, column: float) -> tuple[float, float]:
        """Return the point (y, x) on the ground that a pixel sees."""
        distance = self._reach / (row + self.horizon)
        return self.y - self.tilt * self._reach * distance, self.x + (column - WIDTH / 2) * distance

    def project(self, y: float, x: float) -> tuple[float, float, float]:
        """Return the row and the column at which a point of the ground appears, and the point's distance."""
        distance = (self.y - y) / (self.tilt * self._reach)
        return self._reach / distance - self.horizon, WIDTH / 2 + (x - self.x) / distance, distance

    @property
    def _reach(self) -> float:
        return HEIGHT - 1 + self.horizon


def noise_table(rng: Generator) -> Field:
    """Draw the table in which all noise of a scene is looked up."""
    return noise(rng, (_TABLE, _TABLE), 1.0)


class Terrain(abc.ABC):
    """The surface of one kind of terrain."""

    def __init__(self, rng: Generator, table: Field) -> None:
        """Draw the terrain's traits from `rng`; `table` comes from `noise_table`."""
        self._table = table

    @abc.abstractmethod
    def surface(self, view: View) -> tuple[Field, Field]:
        """Return heights (h, w) in ground units, and brightness (h, w) under even light; soil has about 1."""

    def rough(self, view: View, scale: float, octaves: int = 1) -> Field:
        """Return fractal noise, mean 0, deviation about 1; its coarsest grains are `scale` ground units wide."""
        total = np.zeros(SHAPE, np.float32)
        for octave in range(octaves):
            grain = scale / 2**octave
            # Grains smaller than a far pixel fade out instead of flickering.
            visible = np.exp(-((0.6 * view.distance / grain) ** 2))
            # Grains are two cells of the table wide; each octave reads another part of the table.
            at = np.stack([2 * (view.y / grain) + 37 * octave, 2 * (view.x / grain) + 91 * octave])
            found = np.asarray(ndimage.map_coordinates(self._table, at, order=1, mode="grid-wrap"), np.float32)
            total += visible * found / 2**octave
        return total


class Soil(Terrain):
    """Fine grains with scattered pebbles."""

    def __init__(self, rng: Generator, table: Field) -> None:
        super().__init__(rng, table)
        self._grain = pick(rng, (2.0, 3.5))
        self._roughness = pick(rng, (0.1, 0.35))
        self._pebbles = Scatter(rng, spacing=pick(rng, (4, 14)), size=(0.05, pick(rng, (0.12, 0.35))))
        self._shade = pick(rng, (-0.1, 0.35))

    def surface(self, view: View) -> tuple[Field, Field]:
        """Return the surface of grains and pebbles; see `Terrain.surface`."""
        height = self._roughness * self.rough(view, self._grain, 2) + self.rough(view, 60)
        pebbles = self._pebbles.domes(view)
        tone = 1 + 0.05 * self.rough(view, 40) - self._shade * np.clip(pebbles / view.distance, 0, 1)
        return height + pebbles, tone


class Sand(Terrain):
    """Smooth and a little darker, with wind ripples."""

    def __init__(self, rng: Generator, table: Field) -> None:
        super().__init__(rng, table)
        self._wave = pick(rng, (10, 28))
        self._direction = rng.uniform(-0.6, 0.6) + np.pi / 2
        self._amplitude = pick(rng, (0.01, 0.035)) * self._wave

    def surface(self, view: View) -> tuple[Field, Field]:
        """Return a surface of irregular ripples, long on the windward side and steep on the other."""
        along = view.y * np.sin(self._direction) + view.x * np.cos(self._direction)
        phase = 2 * np.pi * along / self._wave + 1.2 * self.rough(view, 3 * self._wave)
        ripples = np.sin(phase + 0.5 * np.sin(phase))
        fading = np.exp(-((1.5 * view.distance / self._wave) ** 2)) * (1 + 0.5 * self.rough(view, 50))
        height = self._amplitude * ripples * fading + 0.06 * self.rough(view, 2.5)
        return np.asarray(height, np.float32), 0.84 + 0.04 * self.rough(view, 40)


class Bedrock(Terrain):
    """Flat bright slabs, each a little tilted, parted by dark cracks and partly under dust."""

    def __init__(self, rng: Generator, table: Field) -> None:
        super().__init__(rng, table)
        self._slabs = Scatter(rng, spacing=pick(rng, (12, 48)), squash=pick(rng, (0.8, 3.0)))
        self._crack = pick(rng, (0.02, 0.08)) * self._slabs.spacing
        self._thickness = pick(rng, (0.8, 2.0))
        self._dust = pick(rng, (-0.2, 0.45))
        self._contrast = pick(rng, (0.2, 0.5))

    def surface(self, view: View) -> tuple[Field, Field]:
        """Return a surface of slabs with rough tops, each with its own tilt and tone."""
        bend = 0.09 * self._slabs.spacing
        y, x = view.y + bend * self.rough(view, 12, 2), view.x + bend * self.rough(view, 10, 2)
        down, right, number, border = self._slabs.nearest(y, x)
        dust = 4 * np.maximum(0, self._dust + 0.6 * self.rough(view, 45))
        bare = np.clip((border - self._crack - dust) / (0.6 * view.distance), 0, 1)
        tilt = 0.12 * ((number % 7 / 3 - 1) * down + (number % 5 / 2 - 1) * right)
        height = bare * (self._thickness + tilt) + 0.45 * self.rough(view, 6, 3)
        tone = 0.8 + bare * (self._contrast + 0.1 * (number % 11 / 5 - 1)) + 0.06 * self.rough(view, 8, 3)
        return np.asarray(height, np.float32), np.asarray(tone, np.float32)


class Scatter:
    """Stones strewn over the whole ground: a jittered grid of points that repeats every 24 cells.

    Attributes:
        spacing: distance between grid points, in ground units.
    """

    _CELLS = 24

    def __init__(self, rng: Generator, spacing: float, size: Range = (0, 0), squash: float = 1.0) -> None:
        """Scatter stones, `squash` times denser in depth; radii are 0.3-1 times `size`, relative to `spacing`."""
        self.spacing, self._squash = spacing, squash
        cells = np.indices((self._CELLS, self._CELLS)).reshape(2, -1).T
        self._points = np.mod(cells + rng.uniform(0, 1, cells.shape), self._CELLS)
        self._tree = cKDTree(self._points, boxsize=np.full(2, self._CELLS))
        self._radii = rng.uniform(*size, len(cells)) * rng.uniform(0.3, 1, len(cells)) * spacing

    def nearest(self, y: Field, x: Field) -> tuple[Field, Field, NDArray[np.int64], Field]:
        """Return each position's offset down and right from the nearest stone, that stone's number, and the distance
        to the border of the stone's cell (Worley 1996, doi 10.1145/237170.237267); lengths are in ground units."""
        at = np.mod(np.stack([y * self._squash, x], axis=-1) / self.spacing, self._CELLS)
        at[at >= self._CELLS] = 0  # np.mod rounds tiny negative numbers up to _CELLS
        found, indices = self._tree.query(at, k=2)
        first, second = np.moveaxis(np.asarray(found, np.float32), -1, 0)
        number = np.asarray(indices)[..., 0]
        offset = np.mod(at - self._points[number] + self._CELLS / 2, self._CELLS) - self._CELLS / 2
        down, right = np.moveaxis(np.asarray(offset * self.spacing, np.float32), -1, 0)
        return down / self._squash, right, number, (second - first) * self.spacing / 2

    def domes(self, view: View) -> Field:
        """Return the height of round stones lying on the ground."""
        down, right, number, _ = self.nearest(view.y, view.x)
        return np.asarray(np.sqrt(np.clip(self._radii[number] ** 2 - down**2 - right**2, 0, None)), np.float32)


class Boulder:
    """A big angular rock standing on the ground."""

    def __init__(self, rng: Generator, camera: Camera) -> None:
        """Place the boulder somewhere in the camera's view."""
        self._y, self._x = camera.ground(pick(rng, (8, 58)), pick(rng, (10, 118)))
        distance = camera.project(self._y, self._x)[2]
        self._radius = distance * pick(rng, (7, 17))
        sides = rng.integers(6, 10)
        self._normals = 2 * np.pi * (np.arange(sides) + rng.uniform(-0.3, 0.3, sides)) / sides
        self._reaches = rng.uniform(0.65, 1.0, sides)
        self._slopes = rng.uniform(0.4, 1.6, sides)
        self._top = pick(rng, (0.3, 0.6))
        self._surface = noise(rng, SHAPE, 1.2)

    def seen(self, camera: Camera, shift: tuple[float, float] = (0.0, 0.0)) -> tuple[Field, Field]:
        """Return signed distance and height in pixels as the camera sees them; `shift` moves the rock by half radii."""
        row, column, distance = camera.project(self._y, self._x)
        radius = self._radius / distance
        rows, columns = grid(*SHAPE)
        down, right = rows - row - shift[0] * 0.5 * radius, columns - column - shift[1] * 0.5 * radius
        outward = [
            1.3 * down * np.sin(normal) + right * np.cos(normal) - radius * reach
            for normal, reach in zip(self._normals, self._reaches, strict=True)
        ]
        facets = [-depth * slope for depth, slope in zip(outward, self._slopes, strict=True)]
        dome = np.clip(np.min(facets, axis=0), 0, radius * self._top) + 0.3 * self._surface
        return np.max(outward, axis=0), dome
