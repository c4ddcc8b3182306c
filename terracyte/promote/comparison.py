"""Compare a candidate with the champion on the test images that both were tested on."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terracyte.evaluate import confusions
from terracyte.evaluate import scores as evaluation
from terracyte.evaluate.predictions import Kept
from terracyte.metrics import confusion as metrics
from terracyte.params import Params
from terracyte.promote import checks
from terracyte.promote.checks import Check
from terracyte.promote.contenders import Contender, tested
from terracyte.tasks.task import Task

_DECIMALS = 6  # as in the scores


def compare(
    task: Task, settings: Params, rows: pd.DataFrame, candidate: Contender, champion: Contender | None
) -> tuple[list[Check], dict[str, Any] | None]:
    """Compare both contenders' stored predictions of the same images.

    Scores are means over the seeds. If both were tested on exactly the same split under the same corruptions, tasks
    with corruptions are compared by the score that selects variants, the mean of the headline on clean images and under
    shift; otherwise an image's copies under shift differ between the two, and only the clean headline is compared.

    Args:
        task: the task of both.
        settings: those of the resampling and the bounds are used.
        rows: the present test split, which is the candidate's.
        candidate, champion: the contenders with their predictions; `champion` is None if there is no champion.

    Returns:
        The checks; and for the record `images`, `groups`, `metric`, both scores, `difference` with its interval and
        `p_value`, `classes` with both scores of the class headline by class, and the bounds. If the two cannot be
        compared, a check that says why, and None.
    """
    if champion is None:
        return [Check(name=checks.NO_CHAMPION)], None
    name, bounds = champion.about["variant"], settings.promote[task.name]
    if (obstacle := _obstacle(task, champion.about)) is not None:
        return [obstacle], None
    here, there = common(tested(task, rows), champion.tested)
    if not len(here):
        return [Check(name=checks.NO_COMMON_IMAGE, figures={"champion": name})], None
    shared = rows.iloc[here].reset_index(drop=True)
    whole = len(shared) == len(rows) == len(champion.tested) and bool((here == there).all())
    whole = whole and set(champion.scores["mean"].get("shift", ())) == set(task.corruptions)
    both = (_rows_of(candidate.kept, here), _rows_of(champion.kept, there))
    pair = [_counts(task, shared, kept, under_shift=whole) for kept in both]
    score, other = (round(float(task.headline_scores(counts.sum(axis=1)).mean()), _DECIMALS) for counts in pair)
    low, high = evaluation.difference(task, pair[0], pair[1], settings.evaluate)
    figures = {
        "images": len(shared),
        "groups": int(shared["group"].nunique()),
        "metric": task.selection if whole else task.headline,
        "candidate": score,
        "champion": other,
        "difference": round(score - other, _DECIMALS),
        "low": low,
        "high": high,
        "p_value": evaluation.p_value(task, pair[0], pair[1], settings.evaluate),
        "classes": _classes(task, pair),
        "significance": bounds.significance,
        "class_drop": bounds.class_drop,
    }
    return [_better(name, figures), _class_drop(task, figures)], figures


def _obstacle(task: Task, champion: Mapping[str, Any]) -> Check | None:
    """Return why a champion cannot be compared with models of the present task; None if it can."""
    name = champion["variant"]
    if tuple(champion["classes"]) != task.classes:
        return Check(name=checks.OTHER_CLASSES, figures={"champion": name, "classes": ", ".join(champion["classes"])})
    shape = {axis: champion[axis] for axis in ("height", "width", "channels")}
    if tuple(shape.values()) != task.image_shape:
        return Check(name=checks.OTHER_SHAPE, figures={"champion": name, **shape})
    return None


def _better(champion: str, figures: Mapping[str, Any]) -> Check:
    """Check that the candidate is better by the paired test."""
    passed = figures["difference"] > 0 and figures["p_value"] < figures["significance"]
    return Check(name=checks.BETTER, passed=passed, figures={"variant": champion, **figures})


def _class_drop(task: Task, figures: Mapping[str, Any]) -> Check:
    """Check that no class's score falls by more than the bound."""
    drops = {name: scores["champion"] - scores["candidate"] for name, scores in figures["classes"].items()}
    worst, bound = max(drops, key=lambda name: drops[name]), figures["class_drop"]
    found = {"metric": task.class_headline, "class": worst, "drop": drops[worst], "bound": bound}
    # the scores have six decimals, and so has their difference
    return Check(name=checks.CLASS_DROP, passed=round(drops[worst], _DECIMALS) <= bound, figures=found)


def common(one: pd.DataFrame, other: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the row numbers, in two tables of tested images, of images with the same pixels and the same truth.

    Ids are not compared, as other data number their images differently. Of equal images, only the first is used.
    """
    keys = ["content_hash", "target"]
    first, second = (
        table[keys].assign(place=np.arange(len(table))).drop_duplicates(subset=keys) for table in (one, other)
    )
    both = first.merge(second, on=keys, suffixes=("", "_other")).sort_values("place")
    return both["place"].to_numpy(np.int64), both["place_other"].to_numpy(np.int64)


def _rows_of(kept: Sequence[Kept], places: NDArray[np.int64]) -> list[Kept]:
    return [{name: array[places] for name, array in one.items()} for one in kept]


def _counts(task: Task, rows: pd.DataFrame, kept: Sequence[Kept], under_shift: bool) -> metrics.Counts:
    """Return confusion matrices (seeds, groups, parts, k, k), which are compared by the mean headline of their parts:
    the clean images and, under shift, all their corrupted copies."""
    clean = confusions.confusions(task, rows, kept)
    if not under_shift or not task.corruptions:
        return clean[:, :, None]
    return np.stack([clean, confusions.shifted_confusions(task, rows, kept)], axis=2)


def _classes(task: Task, pair: Sequence[metrics.Counts]) -> dict[str, dict[str, float]]:
    """Return each class's headline on clean images, mean over the seeds, for both contenders."""
    clean = [counts[:, :, 0].sum(axis=1) for counts in pair]
    found = [task.class_scores(counts)[task.class_headline].mean(axis=0).tolist() for counts in clean]
    ours, theirs = ([round(score, _DECIMALS) for score in scores] for scores in found)
    return {task.classes[k]: {"candidate": ours[k], "champion": theirs[k]} for k in task.scored_classes}
