"""Find the classes that the values in masks stand for."""

import collections
import dataclasses
from collections.abc import Set
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terracyte.core.errors import InputError
from terracyte.ingest.sources.masks import colour

_MOST_VALUES = 32  # more different values cannot be classes
_UNLABELLED = 255

Counts = collections.Counter[int]
"""Pixels by value; colours as one number (`terracyte.ingest.sources.masks.packed`)."""


@dataclasses.dataclass(frozen=True)
class Meaning:
    """What the values in masks stand for.

    Attributes:
        classes: share of the pixels, by class name.
        values: the value of each class; empty where they are the classes' numbers.
        ignored: the value of unlabelled pixels; None for none.
        codes: the value of each class as `Counts` has it.
    """

    classes: dict[str, float]
    values: dict[str, int | list[int]]
    ignored: int | None
    codes: list[int]

    def shown(self, found: Set[int]) -> list[int]:
        """Return the numbers of the classes that a mask with these values shows."""
        return [number for number, code in enumerate(self.codes) if code in found]


def count(counts: Counts, values: NDArray[np.integer[Any]], path: Path) -> set[int]:
    """Add the pixels of a mask to `counts`, and return its values.

    Raises:
        InputError: there are too many different values for classes.
    """
    different, pixels = (each.tolist() for each in np.unique(values, return_counts=True))
    if len(different) <= _MOST_VALUES:  # otherwise refused below without counting: photos hold millions
        counts.update(dict(zip(different, pixels, strict=True)))
    if max(len(counts), len(different)) > _MOST_VALUES:
        raise InputError(
            f"{path}: masks hold more than {_MOST_VALUES} different values, as photos and smoothed masks do: save "
            "masks with one value for each class"
        )
    return set(different)


def meaning(counts: Counts, in_colour: bool) -> Meaning:
    """Return what the values stand for.

    Raises:
        InputError: there are fewer than two classes.
    """
    total = sum(counts.values())
    shares = {value: counts[value] / total for value in sorted(counts)}
    numbers = list(shares)
    # 255 beside small numbers nearly always means "not labelled"; 0 and 255 alone are two classes
    small = not in_colour and len(numbers) > 2 and numbers[-2] < _MOST_VALUES
    ignored = _UNLABELLED if small and numbers[-1] == _UNLABELLED else None
    scored = [number for number in numbers if number != ignored]
    if len(scored) < 2:
        found = ", ".join(str(colour(number) if in_colour else number) for number in numbers)
        raise InputError(f"masks hold only the value {found}: at least two classes are needed")
    values = [colour(code) if in_colour else code for code in scored]
    names = [f"value {each}" if isinstance(each, int) else "colour {}-{}-{}".format(*each) for each in values]
    classes = {name: shares[code] for name, code in zip(names, scored, strict=True)}
    plain = ignored is None and values == list(range(len(scored)))
    return Meaning(classes, {} if plain else dict(zip(names, values, strict=True)), ignored, scored)
