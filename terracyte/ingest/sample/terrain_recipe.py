"""Recipe and plan of the Mars sample: numbers of single views, drives, views of one terrain, planted defects."""

import dataclasses
from functools import partial

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from terracyte.ingest.sample import defects, terrain
from terracyte.ingest.sample.ground import SHAPE
from terracyte.ingest.sample.plan import Draw, Entry, Picture, Plan, Planted
from terracyte.ingest.sample.terrain import BEDROCK, SAND, SOIL, Place, Scene
from terracyte.params.schema import number

CLASSES = terrain.CLASSES
IMAGE_SHAPE = (*SHAPE, 1)

# The place whose mask the aliens share: three terrains and a big rock, as in the original.
_SHARED = Place(terrains=(SOIL, SAND, BEDROCK), boulders=1, left_out=("seams", "edges"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlantedTerrain(Planted):
    """Defects of the Mars sample.

    Attributes:
        repeated_mask: views with an alien drawn over them, all with the mask of one genuine view.
    """

    repeated_mask: int = number(0, 10_000)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Constant:
    """Numbers of genuine views whose mask has one class in every pixel; the identical masks are no defects."""

    soil: int = number(0, 10_000)
    bedrock: int = number(0, 10_000)
    background: int = number(0, 10_000)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Recipe of the Mars sample.

    Attributes:
        seed: random seed; another seed gives other pictures.
        views: number of places seen once.
        drives: number of places seen from several positions along a drive.
        frames: pictures of each drive; neighbours overlap and look alike, but are no duplicates.
        big_rocks: share of the places with a big rock in view.
        constant: numbers of views with a constant mask.
        planted: numbers of defects.
        unlabelled: number of further places, seen once, whose masks are withheld as in the challenge's test set.
    """

    seed: int = number(0, 2**31 - 1)
    views: int = number(1, 100_000)
    drives: int = number(0, 10_000)
    frames: int = number(2, 20)
    big_rocks: float = number(0, 1)
    constant: Constant
    planted: PlantedTerrain
    unlabelled: int = number(0, 10_000)


def plan(recipe: Recipe, file: str) -> list[Entry]:
    """Plan the pictures of a recipe, in the order of the sample; `file` names the recipe in messages.

    Raises:
        InputError: the recipe asks for more copies than there are places seen once.
    """
    sample = Plan(recipe.seed, file)
    _add_places(sample, recipe.views, frames=1, big_rocks=recipe.big_rocks)
    _add_places(sample, recipe.drives, frames=recipe.frames, big_rocks=recipe.big_rocks)
    _add_constant(sample, recipe.constant)
    sample.plant(recipe.planted, _other_mask)
    if recipe.planted.repeated_mask:
        _add_aliens(sample, recipe.planted.repeated_mask)
    return sample.finish()


def unlabelled(recipe: Recipe, file: str) -> list[Entry]:
    """Plan the pictures without masks; they do not affect those of `plan`."""
    sample = Plan(recipe.seed, file, part=1)
    _add_places(sample, recipe.unlabelled, frames=1, big_rocks=recipe.big_rocks)
    return sample.finish()


def _add_places(sample: Plan, count: int, frames: int, big_rocks: float) -> None:
    # Exactly the declared share, not a random one: a rare class has few images.
    rocky = sample.rng.permutation(count) < round(big_rocks * count)
    for boulder in rocky:
        seed = sample.next_seed()
        place = _random_place(seed, bool(boulder))
        for frame in range(frames):
            sample.add(partial(_view, seed, place, frame), copyable=frames == 1)


def _add_constant(sample: Plan, constant: Constant) -> None:
    for label, count in ((SOIL, constant.soil), (BEDROCK, constant.bedrock)):
        for _ in range(count):
            sample.add(partial(_view, sample.next_seed(), Place(terrains=(label,))))
    for _ in range(constant.background):
        place = Place(terrains=(BEDROCK,), rover=True, left_out=("everything",))
        sample.add(partial(_view, sample.next_seed(), place))


def _add_aliens(sample: Plan, count: int) -> None:
    """Add a genuine view, and `count` views with an alien that all have the genuine view's mask."""
    genuine = partial(_view, sample.next_seed(), _SHARED)
    sample.add(genuine)
    for _ in range(count):
        seed = sample.next_seed()
        place = _random_place(seed, boulder=False)
        sample.add(partial(_alien, partial(_view, seed, place), genuine), "repeated_mask")


def _random_place(seed: tuple[int, ...], boulder: bool) -> Place:
    # 3: a random stream apart from those that the scene derives from the seed
    return terrain.random_place(np.random.default_rng((*seed, 3)), boulder)


def _view(seed: tuple[int, ...], place: Place, frame: int = 0) -> Picture:
    return Picture(*Scene(seed, place).photograph(frame))


def _alien(under: Draw, genuine: Draw) -> Picture:
    return Picture(defects.add_alien(under().image), genuine().target)


def _other_mask(rng: Generator, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the mask of an annotator who confuses soil, bedrock and sand with each other."""
    confused = np.arange(len(CLASSES), dtype=np.uint8)
    confused[[SOIL, BEDROCK, SAND]] = np.roll([SOIL, BEDROCK, SAND], rng.integers(1, 3))
    return np.asarray(confused[mask])
