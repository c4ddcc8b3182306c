"""Survey the arrays of an .npz file."""

import collections
import functools
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from terracyte.core.errors import InputError
from terracyte.core.splits import split_of
from terracyte.ingest.sources.arrays import DARKEST, to_pixels, whole_numbers
from terracyte.ingest.sources.npz import Member, members, names
from terracyte.ingest.sources.npz_file import (
    Pair,
    common_scale,
    declared_groups,
    expect_masks,
    pairs,
    picture,
    require_one_per_image,
    split_names,
    targets_of,
    texts,
)
from terracyte.ingest.sources.tree import shown
from terracyte.new import mask_classes
from terracyte.new.survey import LOOKED_AT, Survey, count_splits, pixel_range, spread, too_few
from terracyte.tasks.task import Task

_MOST_CLASSES = 1000
_MODES = {1: "L", 3: "RGB"}


def look(path: Path, groups: str | None = None) -> Survey:
    """Survey a file that holds images with labels or with masks, perhaps a pair of arrays for each split.

    Args:
        path: the file.
        groups: the name of the arrays with the groups; None for none.

    Raises:
        InputError: the file is unusable, its arrays have no form that is supported, or it has fewer than two classes.
    """
    dense = any(key.endswith("masks") for key in names(path)) or _is_dense(path)
    found = pairs(path, "masks" if dense else "labels", groups)
    declared = [group for pair in found for group in declared_groups(pair) or [""] * len(pair.images)]
    read = {each.key for pair in found for each in (pair.images, pair.targets, pair.groups) if each}
    left = sorted(set(names(path)) - read)
    sizes, modes = _forms(found)
    splits = [split for pair in found for split in [pair.split] * len(pair.images)]
    common: dict[str, Any] = {
        "source": "npz",
        "root": path,
        "count": sum(len(pair.images) for pair in found),
        "group_column": groups,
        "not_read": [shown(left)] if left else [],
        "splits": count_splits(splits),
        "sizes": sizes,
        "modes": modes,
        "read": functools.partial(_read, found),
        **_depth(found),
    }
    if dense:
        counts, values = _mask_values(found)
        meaning = mask_classes.meaning(counts, in_colour=False)
        held = [meaning.shown(each) for each in values]
        return Survey(
            kind="segmentation",
            classes=meaning.classes,
            values=meaning.values,
            ignored=meaning.ignored,
            refused=too_few(list(meaning.classes), held, splits, declared, "mask_values"),
            **common,
        )
    labels = [_labels(pair) for pair in found]
    numbers, amounts = np.unique(np.concatenate(labels), return_counts=True)
    if not 2 <= len(numbers) <= _MOST_CLASSES:
        raise InputError(
            f"{path}: the labels have {len(numbers)} different values; there must be 2 to {_MOST_CLASSES} classes"
        )
    text = numbers.dtype.kind == "U"
    named = {f"{each}": f"{each}" if text else f"class {each}" for each in numbers.tolist()}
    return Survey(
        kind="classification",
        classes={name: float(amount) for name, amount in zip(named.values(), amounts, strict=True)},
        class_of={} if text or numbers.tolist() == list(range(len(numbers))) else named,
        refused=too_few(
            list(named.values()),
            np.searchsorted(numbers, np.concatenate(labels))[:, None].tolist(),
            splits,
            declared,
            "class_of",
        ),
        **common,
    )


def _is_dense(path: Path) -> bool:
    """Return whether `y`, or that of a split, holds masks."""
    splits = {key: name for key, name in split_names(names(path)).items() if not name or split_of(name)}
    short = {targets_of(key, "masks") for key in splits if not key.endswith("images")} & set(names(path))
    return any(len(member.shape) > 2 for member in members(path, *short, text=True))  # labels are (n,) or (n, 1)


def _forms(found: Sequence[Pair]) -> tuple[dict[tuple[int, int], int], dict[str, int]]:
    """Count images by size (width, height) and by mode."""
    sizes: collections.Counter[tuple[int, int]] = collections.Counter()
    modes: collections.Counter[str] = collections.Counter()
    for images in (pair.images for pair in found):
        channels = images.shape[3] if len(images.shape) == 4 else 1
        if len(images.shape) not in (3, 4) or channels not in _MODES:
            raise InputError(
                f"{images.where} has shape {images.shape}; it must be (n, h, w), (n, h, w, 1) or (n, h, w, 3)"
            )
        sizes[images.shape[2], images.shape[1]] += len(images)
        modes[_MODES[channels]] += len(images)
    if len(modes) > 1:
        raise InputError(
            f"{found[0].images.path}: some images are grey and some in colour; give all the same number of channels"
        )
    return dict(sizes), dict(modes)


def _depth(found: Sequence[Pair]) -> dict[str, Any]:
    """Return `bits` and `pixel_range` of a survey, if ingest would refuse the pixels without a range; else {}."""
    wide = [pair.images for pair in found if pair.images.dtype != np.uint8]
    if not wide:
        return {}
    chunks = itertools.chain.from_iterable(images.chunks() for images in wide)
    progress = tqdm(chunks, "range of pixels", leave=False, disable=None)
    ends = [(np.fmin.reduce(chunk, axis=None), np.fmax.reduce(chunk, axis=None)) for _, chunk in progress]
    least, most = float(np.fmin.reduce([low for low, _ in ends])), float(np.fmax.reduce([high for _, high in ends]))
    floats = any(images.dtype.kind == "f" for images in wide)
    if least >= 0 and most <= 255 and not (1 if floats else 0) < most <= DARKEST:
        return {}
    some = (image for *_, image in _some(found, 100))
    whole = {"otherwise": (least, most)} if least < most else {}
    return {"bits": 8 * wide[0].dtype.itemsize, "pixel_range": pixel_range(some, **whole)}


def _labels(pair: Pair) -> NDArray[Any]:
    member = pair.targets
    require_one_per_image(pair, member, "label")
    if member.dtype.kind == "U":
        return np.array(texts(member))
    return whole_numbers(member.read().reshape(-1), member.where)


def _mask_values(found: Sequence[Pair]) -> tuple[mask_classes.Counts, list[set[int]]]:
    """Return the number of pixels of each value, and each mask's values."""
    counts: mask_classes.Counts = collections.Counter()
    values = []
    for pair in found:
        expect_masks(pair)
        for _, chunk in pair.targets.chunks():
            masks = whole_numbers(chunk, pair.targets.where)
            values += [mask_classes.count(counts, mask, pair.targets.path) for mask in masks]
    return counts, values


def _read(found: Sequence[Pair], task: Task) -> NDArray[np.uint8]:
    """Read some of the images at the task's size (n, h, w, c)."""
    scale = common_scale(task, found)
    return np.stack(
        [picture(task, to_pixels(member, image[None], scale, row)[0]) for member, row, image in _some(found)]
    )


def _some(found: Sequence[Pair], most: int = LOOKED_AT) -> Iterator[tuple[Member, int, NDArray[Any]]]:
    """Yield up to `most` of the images, evenly spread, with their arrays and rows."""
    before, wanted = 0, set(spread(sum(len(pair.images) for pair in found), most).tolist())
    for pair in found:
        for first, chunk in pair.images.chunks():
            for row, image in enumerate(chunk, first):
                if before + row in wanted:
                    yield pair.images, row, image
        before += len(pair.images)
