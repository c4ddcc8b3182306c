"""Add splits, groups and weights to the cleaned manifest, and summarise them."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terracyte.balance import given
from terracyte.balance.class_weights import class_weights, repeats, sampling_weights
from terracyte.balance.split import assign, assign_folds, group
from terracyte.core.splits import SPLITS
from terracyte.params import Balance
from terracyte.tasks.task import Task

# Columns that cleaning added: they are the same for all kept rows.
_DECISIONS = ["keep", "reason", "duplicate_of"]


def balance(task: Task, images: NDArray[np.uint8], cleaned: pd.DataFrame, settings: Balance) -> pd.DataFrame:
    """Split the kept rows and weigh them.

    Args:
        task: the task the rows belong to.
        images: (N, h, w, c) uint8, indexed by `id`; may be memory-mapped.
        cleaned: the manifest with cleaning's decisions.
        settings: shares of the splits, similarity thresholds, and weights.

    Returns:
        The kept rows without the decisions, with `split` (train, validation or test), `group` (from 0 on), `fold`
        (from 0 on; -1 in test, and without folds), `sample_weight` (mean 1 within train and within validation; 1 in
        test) and `repeats` (1 in test).

    Raises:
        InputError: the data cannot be split as asked, or the rare class is unknown.
    """
    kept = cleaned[cleaned["keep"]].drop(columns=_DECISIONS).reset_index(drop=True)
    shown = repeats(task, kept, settings)
    groups = group(images, kept, settings)
    splits = (given.assign if given.kept(kept, settings) else assign)(task, kept, groups, settings)
    learnt = splits != "test"
    sample_weight = np.ones(len(kept))
    for part in (splits == "train", splits == "validation"):
        sample_weight[part] = sampling_weights(task, kept[part], settings.weight_cap).round(6)
    folds = np.full(len(kept), -1)
    if settings.folds:
        folds[learnt] = assign_folds(task, kept[learnt], groups[learnt], settings)
    weights = {"sample_weight": sample_weight, "repeats": np.where(learnt, shown, 1)}
    return kept.assign(split=splits, group=groups, fold=folds, **weights)


def summarise(task: Task, cleaned: pd.DataFrame, balanced: pd.DataFrame, settings: Balance) -> dict[str, Any]:
    """Return the class weights; per split the numbers of images, groups, and images (or pixels) of each class; sizes of
    groups; and where a `given` split leaked."""
    training = balanced[balanced["split"] == "train"]
    weights = class_weights(task, training, settings.weight_power, settings.weight_cap)
    sizes = balanced["group"].value_counts()
    summary = {
        "class_weights": weights.round(6).tolist(),
        "splits": {name: _count(task, balanced[balanced["split"] == name]) for name in SPLITS},
        "groups": {"images_in_groups": int(sizes[sizes > 1].sum()), "largest": int(sizes.max())},
    }
    return summary | ({"given": given.summarise(cleaned, balanced)} if given.kept(balanced, settings) else {})


def describe(summary: dict[str, Any]) -> str:
    """Format the summary as a short table with one row per split; its classes are in percent of the split."""
    names = list(summary["splits"]["train"]["classes"])
    lines = [f"{'split':12}{'images':>8}{'groups':>8}  " + "  ".join(names)]
    for split, found in summary["splits"].items():
        total = sum(found["classes"].values())
        shares = (f"{found['classes'][name] / total:{len(name)}.1%}" for name in names)
        lines.append(f"{split:12}{found['images']:8}{found['groups']:8}  " + "  ".join(shares))
    if "given" in summary:
        lines.append(given.describe(summary["given"]))
    return "\n".join(lines)


def _count(task: Task, rows: pd.DataFrame) -> dict[str, Any]:
    classes = dict(zip(task.classes, task.class_counts(rows).sum(axis=0).tolist(), strict=True))
    return {"images": len(rows), "groups": int(rows["group"].nunique()), "classes": classes}
