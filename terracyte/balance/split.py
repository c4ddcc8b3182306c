"""Split into train, validation and test: no group of similar images is in two splits, and classes keep their shares."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terracyte.core.errors import InputError
from terracyte.core.splits import SPLITS
from terracyte.images.similarity.pairs import components, similar_pairs
from terracyte.params import Balance
from terracyte.tasks.task import Task

_MOST_HELD_OUT = 0.6  # largest share of validation and test together
_TOLERANCE = 0.2  # largest relative error of a split's size; one image per scored class is always allowed


def group(images: NDArray[np.uint8], kept: pd.DataFrame, settings: Balance) -> NDArray[np.int64]:
    """Number the groups of images that must share a split.

    Two images belong together if they are copies, if they look alike (perhaps shifted against each other), if
    they declare the same group, or if a chain of such pairs connects them.

    Args:
        images: (N, h, w, c) uint8, indexed by `id`; may be memory-mapped.
        kept: n rows of the manifest.
        settings: `group_bits` and `group_correlation` decide which images look alike.

    Returns:
        (n,) group numbers from 0 on, in the order of their first rows.
    """
    alike = similar_pairs(images, kept, settings.group_bits, settings.group_correlation).rows
    copies = _links(kept["content_hash"])
    declared = _links(kept["declared_group"].where(kept["declared_group"] != ""))
    first_rows = components(len(kept), np.concatenate([alike, copies, declared]))
    return np.unique(first_rows, return_inverse=True)[1].astype(np.int64)


def assign(
    task: Task, kept: pd.DataFrame, groups: NDArray[np.int64], settings: Balance, names: Sequence[str] = SPLITS
) -> NDArray[np.str_]:
    """Split whole groups such that images, classes and strata all keep their shares (iterative stratification).

    Groups are assigned one by one, those with the largest part of any class or stratum first, to the split that still
    lacks most of what they hold (after Sechidis et al. 2011, "On the stratification of multi-label data", with groups
    instead of images and amounts instead of presence). Ties in this order are broken by a seeded hash of the groups'
    contents, so that the split does not depend on the order of the rows.

    Args:
        task: the task, which defines classes and strata.
        kept: n rows of the manifest.
        groups: (n,) group numbers from 0 on.
        settings: shares and seed.
        names: names of the splits; the first is train, which takes what the others leave.

    Returns:
        (n,) the split of each row, one of `names`.

    Raises:
        InputError: the shares leave too little for training, a scored class has too few groups to be in each split, or
            groups are too large for the shares or leave a split without a scored class.
    """
    shares = _shares(task, settings, names)
    _require_enough_groups(task, kept, groups, len(names))
    parts = _parts(task, kept, groups)
    splits = np.array(names)[_share_out(kept, groups, parts, shares, settings.seed)]
    _require_shares(task, kept, groups, splits, dict(zip(names, shares, strict=True)))
    return splits


def assign_folds(task: Task, rows: pd.DataFrame, groups: NDArray[np.int64], settings: Balance) -> NDArray[np.int64]:
    """Cut rows into folds of equal shares, as `assign` cuts them into splits.

    Args:
        task: the task, which defines classes and strata.
        rows: n rows of the manifest: those outside the test split.
        groups: (n,) group numbers.
        settings: `folds`, at least 2, and seed.

    Returns:
        (n,) the fold of each row, from 0 to folds - 1.

    Raises:
        InputError: a scored class has fewer groups than there are folds.
    """
    numbers = np.unique(groups, return_inverse=True)[1]
    few = _rare_classes(task, rows, numbers, settings.folds)
    if few:
        raise InputError(
            f"{task.name}: each of {settings.folds} folds needs a group of images of every class, but outside the test "
            f"split {', '.join(few)}: lower 'balance.{task.name}.folds' in params.yaml, or add images"
        )
    shares = np.full(settings.folds, 1 / settings.folds)
    return _share_out(rows, numbers, _parts(task, rows, numbers), shares, settings.seed)


def _share_out(
    rows: pd.DataFrame, groups: NDArray[np.int64], parts: NDArray[np.float64], shares: NDArray[np.float64], seed: int
) -> NDArray[np.int64]:
    """Return (n,) the index into `shares` that each row's group is assigned to."""
    contents = rows.groupby(groups)["content_hash"].min()
    draws = [hashlib.sha256(f"{seed} {content}".encode()).hexdigest() for content in contents]
    lacking = np.ones((len(shares), parts.shape[1]))
    chosen = np.empty(len(parts), np.int64)
    for number in np.lexsort([draws, -parts.max(axis=1).round(12)]):
        # `lacking` is relative to each share; a tie goes to the split or fold that comes first (train, the largest)
        chosen[number] = int(np.argmax(lacking @ parts[number]))
        lacking[chosen[number]] -= parts[number] / shares[chosen[number]]
    return chosen[groups]


def _links(keys: pd.Series) -> NDArray[np.int64]:
    """(p, 2) pairs that connect each row to the first row with its key; rows without a key stay alone."""
    codes = pd.factorize(keys)[0]
    known = np.flatnonzero(codes >= 0)
    _, first = np.unique(codes[known], return_index=True)
    return np.stack([known[first[codes[known]]], known], axis=1).astype(np.int64)


def _shares(task: Task, settings: Balance, names: Sequence[str]) -> NDArray[np.float64]:
    held_out = round(settings.validation + settings.test, 9)  # 0.4 + 0.2 is 0.6000000000000001
    if held_out > _MOST_HELD_OUT:
        raise InputError(
            f"params.yaml: 'balance.{task.name}.validation' and 'test' add up to {held_out:g}; "
            f"their sum must be at most {_MOST_HELD_OUT:g}"
        )
    held = [getattr(settings, name) for name in names[1:]]
    return np.array([1 - sum(held), *held])


def _require_enough_groups(task: Task, kept: pd.DataFrame, groups: NDArray[np.int64], splits: int) -> None:
    few = _rare_classes(task, kept, groups, splits)
    if few:
        key = "mask_values" if task.dense else "class_of"
        raise InputError(
            f"{task.name}: each of {splits} splits needs a group of images of every class, but {', '.join(few)}: add "
            f"images, merge such a class with another ('sources.{task.name}.{key}' in experiment.yaml), or, if "
            f"dissimilar images share a group, raise 'balance.{task.name}.group_correlation'"
        )


def _rare_classes(task: Task, rows: pd.DataFrame, groups: NDArray[np.int64], least: int) -> list[str]:
    """Describe each scored class that is in fewer groups than `least`, for an error message."""
    holds = task.class_counts(rows) > 0
    found = {k: len(np.unique(groups[holds[:, k]])) for k in task.scored_classes}
    return [
        f"'{task.classes[k]}' has only {int(holds[:, k].sum())} images in {count} groups"
        for k, count in found.items()
        if count < least
    ]


def _parts(task: Task, kept: pd.DataFrame, groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return (g, f): each group's part of all images, of each class and of each stratum; each column sums to 1."""
    strata = task.strata(kept)
    amounts = np.concatenate(
        [np.ones((len(kept), 1)), task.class_counts(kept), strata[:, None] == np.unique(strata)], axis=1
    )
    totals = np.zeros((groups.max() + 1, amounts.shape[1]))
    np.add.at(totals, groups, amounts)
    return np.asarray(totals / np.maximum(totals.sum(axis=0), 1))


def _require_shares(
    task: Task, kept: pd.DataFrame, groups: NDArray[np.int64], splits: NDArray[np.str_], shares: dict[str, float]
) -> None:
    counts = task.class_counts(kept)
    for name, share in shares.items():
        found, wanted = int((splits == name).sum()), share * len(kept)
        # a split takes whole images of each class, so rounding may add up to one image per class
        if abs(found - wanted) > max(1, _TOLERANCE * wanted, len(task.scored_classes)):
            raise InputError(
                f"{task.name}: {len(kept)} kept images in groups of up to {np.bincount(groups).max()} cannot be split "
                f"as asked: {name} would hold {found} instead of about {wanted:.0f}; "
                f"add images, or raise 'balance.{task.name}.group_correlation'"
            )
        absent = [task.classes[k] for k in task.scored_classes if not counts[splits == name, k].any()]
        if absent:
            raise InputError(
                f"{task.name}: the {name} split would hold no '{absent[0]}': "
                f"raise 'balance.{task.name}.{name}', or add images of that class"
            )
