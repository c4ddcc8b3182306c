"""The three splits, and the names that people give them."""

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


def split_of(name: str) -> str | None:
    """Return the split that the name of a folder or an array, or a table's cell, stands for, in any case; else None."""
    return _NAMES.get(name.strip().lower())


def order(split: str) -> int:
    """Return the key that sorts images by their split: test, validation, then train or none ("").

    Cleaning keeps the first of equal images: in this order it drops the copy in train, not the one in test.
    """
    return -SPLITS.index(split) if split else 0
