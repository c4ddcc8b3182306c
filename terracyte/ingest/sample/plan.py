"""The plan of a sample: its pictures, their order, and which of them are defects."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from terracyte.core.errors import InputError
from terracyte.ingest.sample import defects
from terracyte.params.schema import number


@dataclasses.dataclass(frozen=True)
class Picture:
    """An image (h, w, c) uint8 and its ground truth: a label, or a mask (h, w) uint8."""

    image: NDArray[np.uint8]
    target: Any


Draw = Callable[[], Picture]
# Makes another ground truth from a given one.
Contradict = Callable[[Generator, Any], Any]


@dataclasses.dataclass(frozen=True)
class Entry:
    """A picture to be drawn; `draw` gives the same picture at each call.

    Attributes:
        draw: the function that draws the picture.
        position: sort key for the order of the sample, 0-1.
        defect: the kind of defect; "" for none.
    """

    draw: Draw
    position: float
    defect: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Planted:
    """Numbers of the defects that every sample can have.

    Attributes:
        exact_duplicate: further copies of genuine pictures with the same ground truth.
        conflicting_duplicate: genuine pictures that appear a second time with another ground truth; both
            count as defects, since nobody can tell which one is right.
        near_duplicate: further, slightly altered copies of genuine pictures.
        off_distribution: pictures that do not belong to the data, each of another kind.
    """

    exact_duplicate: int = number(0, 10_000)
    conflicting_duplicate: int = number(0, 10_000)
    near_duplicate: int = number(0, 10_000)
    off_distribution: int = number(0, len(defects.ODDITIES))


class Plan:
    """A sample that is being planned; no picture is drawn before its entry's `draw` is called.

    The order is random, but a copy comes after its original, so that the first of equal pictures is the genuine one.

    Attributes:
        rng: the generator for the plan; each picture is drawn with a generator of its own.
    """

    def __init__(self, seed: int, recipe: str, part: int = 0) -> None:
        """Start an empty plan; `recipe` names the file in messages; each `part` of a sample is drawn independently."""
        # two streams of random numbers for each part: one for the plan, one for its pictures
        self.rng = np.random.default_rng((seed, 2 * part))
        self._stream = (seed, 2 * part + 1)
        self._recipe = recipe
        self._pictures = 0
        self._entries: list[Entry] = []
        self._copyable: list[int] = []

    def next_seed(self) -> tuple[int, int, int]:
        """Return the seed of the next picture; it does not depend on how the other pictures are drawn."""
        self._pictures += 1
        return *self._stream, self._pictures

    def add(self, draw: Draw, defect: str = "", copyable: bool = False) -> None:
        """Add a picture; a genuine one may be `copyable`, that is, become the original of one copy."""
        if copyable:
            self._copyable.append(len(self._entries))
        self._entries.append(Entry(draw, float(self.rng.random()), defect))

    def plant(self, planted: Planted, contradict: Contradict) -> None:
        """Add duplicates of the copyable pictures added so far, and off-distribution pictures.

        Args:
            planted: the number of each kind of defect.
            contradict: makes another ground truth from a given one.
        """
        for _ in range(planted.exact_duplicate):
            self._copy("exact_duplicate", lambda picture: picture)
        for _ in range(planted.near_duplicate):
            self._copy("near_duplicate", partial(_altered, self.next_seed()))
        for _ in range(planted.conflicting_duplicate):
            original = self._copy("conflicting_duplicate", partial(_relabelled, self.next_seed(), contradict))
            marked = dataclasses.replace(self._entries[original], defect="conflicting_duplicate")
            self._entries[original] = marked
        for kind in range(planted.off_distribution):
            ground_truth = self._entries[self._choose_original()].draw
            self.add(partial(_changed, ground_truth, partial(_replaced, self.next_seed(), kind)), "off_distribution")

    def finish(self) -> list[Entry]:
        """Return the entries in the order of the sample."""
        return sorted(self._entries, key=lambda entry: entry.position)

    def _copy(self, defect: str, change: Callable[[Picture], Picture]) -> int:
        """Add a changed copy of a genuine picture, and return the original's index."""
        original = self._choose_original()
        self._copyable.remove(original)
        draw, position = self._entries[original].draw, self._entries[original].position
        later = position + (1 - position) * float(self.rng.random())
        self._entries.append(Entry(partial(_changed, draw, change), later, defect))
        return original

    def _choose_original(self) -> int:
        if not self._copyable:
            raise InputError(
                f"{self._recipe}: 'planted' asks for more copies than there are genuine pictures; lower its numbers"
            )
        return self._copyable[int(self.rng.integers(len(self._copyable)))]


def _changed(draw: Draw, change: Callable[[Picture], Picture]) -> Picture:
    return change(draw())


def _altered(seed: tuple[int, ...], picture: Picture) -> Picture:
    image = defects.near_copy(np.random.default_rng(seed), picture.image)
    return dataclasses.replace(picture, image=image)


def _relabelled(seed: tuple[int, ...], contradict: Contradict, picture: Picture) -> Picture:
    return dataclasses.replace(picture, target=contradict(np.random.default_rng(seed), picture.target))


def _replaced(seed: tuple[int, ...], kind: int, picture: Picture) -> Picture:
    height, width, channels = picture.image.shape
    image = defects.oddity(np.random.default_rng(seed), kind, (height, width, channels))
    return dataclasses.replace(picture, image=image)
