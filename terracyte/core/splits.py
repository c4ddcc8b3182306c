"""The three splits, and what people call them."""

from collections.abc import Iterable
from typing import Protocol, TypeVar

SPLITS = ("train", "validation", "test")
"""From the least to the most protected: no image of a later one may turn up in an earlier one."""

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
    """Something that bears the split that somebody gave it."""

    @property
    def split(self) -> str:
        """One of `SPLITS`; "" where nobody gave one."""


Item = TypeVar("Item", bound=Placed)


def split_of(name: str) -> str | None:
    """The split that a folder, an array or a cell of this name means, in any case; None for none."""
    return _NAMES.get(name.strip().lower())


def protected_first(items: Iterable[Item]) -> list[Item]:
    """Test, validation, train, otherwise in their order; as they come where there is no split.

    Cleaning keeps the first of equal images: in this order it is the copy in train that goes, not the one in test.
    """
    return sorted(items, key=lambda item: -SPLITS.index(item.split) if item.split else 0)
