"""The three splits, and the names that people give them."""

from collections.abc import Iterable
from typing import Protocol, TypeVar

SPLITS = ("train", "validation", "test")
"""From the least to the most protected split: no image of a later split may also be in an earlier one."""

_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}


class Placed(Protocol):
    """An item with the split that its source declares."""

    @property
    def split(self) -> str:
        """One of `SPLITS`; "" if none is declared."""


Item = TypeVar("Item", bound=Placed)


def split_of(name: str) -> str | None:
    """Return the split that the name of a folder or an array, or a table's cell, stands for, in any case; else None."""
    return _NAMES.get(name.strip().lower())


def protected_first(items: Iterable[Item]) -> list[Item]:
    """Return the items sorted: test, validation, then train or no split; otherwise they keep their order.

    Cleaning keeps the first of equal images: in this order it drops the copy in train, not the one in test.
    """
    return sorted(items, key=lambda item: -SPLITS.index(item.split) if item.split else 0)
