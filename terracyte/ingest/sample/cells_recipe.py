"""Recipe and plan of the blood sample: the number of cells of each class, and the planted defects."""

import dataclasses
from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.random import Generator

from terracyte.core.errors import InputError
from terracyte.ingest.sample import cells, defects
from terracyte.ingest.sample.plan import Entry, Picture, Plan, Planted
from terracyte.ingest.sample.smear import SHAPE
from terracyte.params.schema import check_keys, number

CLASSES = tuple(cells.ANATOMIES)
IMAGE_SHAPE = (*SHAPE, 3)

# In the original data the second joke picture occurs under one label only.
_SINGLE_LABEL = CLASSES.index("monocyte")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlantedCells(Planted):
    """Defects of the blood sample.

    Attributes:
        repeated_image: copies of a joke picture, whose labels cycle through the classes.
        repeated_image_one_label: copies of another joke picture, all under one label.
    """

    repeated_image: int = number(0, 10_000)
    repeated_image_one_label: int = number(0, 10_000)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Recipe of the blood sample.

    Attributes:
        seed: random seed; another seed gives other pictures.
        cells: number of genuine cells of each class.
        bluish: share of the genuine cells that lie on a bluish slide, which is no defect.
        planted: numbers of defects.
    """

    seed: int = number(0, 2**31 - 1)
    cells: Mapping[str, int] = number(1, 100_000)
    bluish: float = number(0, 1)
    planted: PlantedCells


def plan(recipe: Recipe, file: str) -> list[Entry]:
    """Plan the pictures of a recipe, in the order of the sample; `file` names the recipe in messages.

    Raises:
        InputError: the recipe's classes are not the drawn ones, or it asks for more copies than genuine cells.
    """
    check_keys(recipe.cells, CLASSES, "cells", file)
    if absent := [name for name in CLASSES if name not in recipe.cells]:
        raise InputError(f"{file}: 'cells' lacks {', '.join(absent)}; give each class a number")
    sample = Plan(recipe.seed, file)
    for label, name in enumerate(CLASSES):
        for _ in range(recipe.cells[name]):
            bluish = bool(sample.rng.random() < recipe.bluish)
            sample.add(partial(_cell, sample.next_seed(), label, bluish), copyable=True)
    sample.plant(recipe.planted, _other_label)
    for copy in range(recipe.planted.repeated_image):
        sample.add(partial(_joke, 0, copy % len(CLASSES)), "repeated_image")
    for _ in range(recipe.planted.repeated_image_one_label):
        sample.add(partial(_joke, 1, _SINGLE_LABEL), "repeated_image")
    return sample.finish()


def unlabelled(recipe: Recipe, file: str) -> list[Entry]:
    """Return an empty plan: the challenge asks for code, and publishes no cells without labels."""
    return []


def _cell(seed: tuple[int, ...], label: int, bluish: bool) -> Picture:
    return Picture(cells.draw(np.random.default_rng(seed), CLASSES[label], bluish), label)


def _joke(number: int, label: int) -> Picture:
    return Picture(defects.JOKES[number](SHAPE), label)


def _other_label(rng: Generator, label: int) -> int:
    return (label + int(rng.integers(1, len(CLASSES)))) % len(CLASSES)
