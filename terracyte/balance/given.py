"""A split given by the data's source: it is kept, except that groups spread over several splits are reunited.

Such a group moves to the most protected split that holds any of it: test before validation before train. So no image
given for test is ever trained on, or used to choose epochs and variants; only the less protected splits lose images.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terracyte.balance import split
from terracyte.core.errors import InputError
from terracyte.core.splits import SPLITS
from terracyte.params import Balance
from terracyte.tasks.task import Task

COLUMN = "declared_split"
_MOST_LOST = 0.5  # share of the given training images that may move: more is not a leak but another split


def kept(rows: pd.DataFrame, settings: Balance) -> bool:
    """Return whether the rows have a given split and the settings keep it."""
    return COLUMN in rows and settings.split == "given"


def assign(task: Task, rows: pd.DataFrame, groups: NDArray[np.int64], settings: Balance) -> NDArray[np.str_]:
    """Return the given split with whole groups; a validation or test split that is not given is cut from train.

    Args:
        task: the task, which defines classes and strata.
        rows: n rows of the manifest, with `declared_split`.
        groups: (n,) group numbers from 0 on.
        settings: seed and shares (of the training images) of the splits that are cut.

    Returns:
        (n,) the split of each row, one of `SPLITS`.

    Raises:
        InputError: no training split is given, most of its images are like images given for other splits, a split
            lacks a scored class, or the missing splits cannot be cut from train.
    """
    ranks = rows[COLUMN].map(SPLITS.index)
    splits: NDArray[np.str_] = np.array(SPLITS)[ranks.groupby(groups).transform("max").to_numpy()]
    training, missing = splits == "train", missing_splits(rows)
    _require_training(task, rows, training)
    if missing and training.any():
        numbers = np.unique(groups[training], return_inverse=True)[1]
        splits[training] = split.assign(task, rows[training], numbers, settings, ("train", *missing))
    _require_classes(task, rows, splits)
    return splits


def missing_splits(rows: pd.DataFrame) -> list[str]:
    """Return those of validation and test that no row is given for."""
    return [name for name in SPLITS[1:] if not (rows[COLUMN] == name).any()]


def summarise(cleaned: pd.DataFrame, balanced: pd.DataFrame) -> dict[str, Any]:
    """Count where the given split leaked, and what was changed.

    Args:
        cleaned: the manifest with cleaning's decisions.
        balanced: what `balancing.balance` made of it.

    Returns:
        `leaking_groups`: number of groups spread over several splits; `moved`: images by `<from>_to_<to>`;
        `cut_from_train`: images of each split that was not given; `copies_dropped`: images that cleaning dropped as
        copies of one in another split.
    """
    given, missing = balanced[COLUMN], missing_splits(balanced)
    torn = balanced.groupby("group")[COLUMN].nunique() > 1
    found = balanced["split"].where(~balanced["split"].isin(missing), "train")
    moves = pd.Series(given + "_to_" + found)[given != found].value_counts().sort_index()
    originals = cleaned["duplicate_of"].map(cleaned.set_index("id")[COLUMN])
    return {
        "leaking_groups": int(torn.sum()),
        "moved": {name: int(count) for name, count in moves.items()},
        "cut_from_train": {name: int((balanced["split"] == name).sum()) for name in missing},
        "copies_dropped": int((originals.notna() & (originals != cleaned[COLUMN])).sum()),
    }


def describe(found: dict[str, Any]) -> str:
    """Format what `summarise` returned: a line on leaking groups, then, if any, on dropped copies and on cut splits."""
    moved = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in found["moved"].items())
    lines = [
        f"given split: {found['leaking_groups']} groups, declared or of similar images, were in several splits"
        + (f"; each was moved to the most protected one: {moved}" if moved else "")
    ]
    if found["copies_dropped"]:
        lines.append(f"given split: cleaning dropped {found['copies_dropped']} copies of images in another split")
    for name, count in found["cut_from_train"].items():
        lines.append(f"given split: there is no {name}, so {count} images were cut from train")
    return "\n".join(lines)


def _require_training(task: Task, rows: pd.DataFrame, training: NDArray[np.bool_]) -> None:
    before, left = int((rows[COLUMN] == "train").sum()), int(training.sum())
    if left < (1 - _MOST_LOST) * before:
        raise InputError(
            f"{task.name}: {before - left} of {before} images given for train share a group with ones given for "
            f"validation or test: if images that are alike are really different, raise "
            f"'balance.{task.name}.group_correlation'; or let `balance` make its own split: "
            f"'balance.{task.name}.split: own' in params.yaml"
        )


def _require_classes(task: Task, rows: pd.DataFrame, splits: NDArray[np.str_]) -> None:
    counts = task.class_counts(rows)
    for name in SPLITS:
        absent = [task.classes[k] for k in task.scored_classes if not counts[splits == name, k].any()]
        if absent:
            before = counts[(rows[COLUMN] == name).to_numpy()][:, task.classes.index(absent[0])] > 0
            why = (
                f"its {before.sum()} images share a group with ones in a more protected split: if images that are "
                f"alike are really different, raise 'balance.{task.name}.group_correlation'"
                if before.any()
                else "add images of that class there"
            )
            raise InputError(
                f"{task.name}: the given {name} split holds no '{absent[0]}' ({why}); or let `balance` make its own "
                f"split: 'balance.{task.name}.split: own' in params.yaml"
            )
