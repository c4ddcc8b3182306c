"""A candidate against the champion, on the test images that both were tested on."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terracyte.evaluate import confusions
from terracyte.evaluate import scores as evaluation
from terracyte.evaluate.predictions import Kept
from terracyte.metrics import confusion as metrics
from terracyte.params import Evaluate
from terracyte.promote.contenders import Contender, tested
from terracyte.tasks.task import Task

_DECIMALS = 6  # as in the scores


def compare(
    task: Task, rows: pd.DataFrame, candidate: Contender, champion: Contender, settings: Evaluate
) -> dict[str, Any] | None:
    """Compare stored predictions, pair by pair.

    Scores are means over the seeds. Where both were tested on the very same split, tasks with corruptions are
    compared by what chooses their variants, the mean of the headline clean and under shift; otherwise an image's
    copies under shift differ between the two, and the headline alone is compared.

    Args:
        task: whose.
        rows: the present test split, which is the candidate's.
        candidate, champion: their predictions.
        settings: of the resampling.

    Returns:
        `images`, `groups`, `metric`, both scores, `difference` with its interval and `p_value`, and by class both
        scores of the class headline; None where no image is common to both.
    """
    here, there = common(tested(task, rows), champion.tested)
    if not len(here):
        return None
    shared = rows.iloc[here].reset_index(drop=True)
    whole = len(shared) == len(rows) == len(champion.tested) and bool((here == there).all())
    ours, theirs = _chosen(candidate.kept, here), _chosen(champion.kept, there)
    pair = [_counts(task, shared, kept, under_shift=whole) for kept in (ours, theirs)]
    score, other = (_mean(task.headline_scores(counts.sum(axis=1))) for counts in pair)
    low, high = evaluation.difference(task, pair[0], pair[1], settings)
    return {
        "images": len(shared),
        "groups": int(shared["group"].nunique()),
        "metric": task.selection if whole else task.headline,
        "candidate": score,
        "champion": other,
        "difference": round(score - other, _DECIMALS),
        "low": low,
        "high": high,
        "p_value": evaluation.p_value(task, pair[0], pair[1], settings),
        "classes": _classes(task, shared, ours, theirs),
    }


def common(one: pd.DataFrame, other: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places, in two tables of tested images, of those with the same pixels and the same truth.

    Ids are not compared: other data number their images anew. Of equal images the first counts.
    """
    keys = ["content_hash", "target"]
    first, second = (
        table[keys].assign(place=np.arange(len(table))).drop_duplicates(subset=keys) for table in (one, other)
    )
    both = first.merge(second, on=keys, suffixes=("", "_other")).sort_values("place")
    return both["place"].to_numpy(np.int64), both["place_other"].to_numpy(np.int64)


def _chosen(kept: Sequence[Kept], places: NDArray[np.int64]) -> list[Kept]:
    return [{name: array[places] for name, array in one.items()} for one in kept]


def _counts(task: Task, rows: pd.DataFrame, kept: Sequence[Kept], under_shift: bool) -> metrics.Counts:
    """(seeds, groups, k, k) whose headline is what is compared.

    With corruptions, the clean images count as often as all their copies: the share of hits is then the mean of
    both shares.
    """
    clean = confusions.confusions(task, rows, kept)
    if not under_shift or not task.corruptions:
        return clean
    return len(task.corruptions) * clean + confusions.shifted_confusions(task, rows, kept)


def _classes(
    task: Task, rows: pd.DataFrame, ours: Sequence[Kept], theirs: Sequence[Kept]
) -> dict[str, dict[str, float]]:
    found = [_class_means(task, confusions.confusions(task, rows, kept)) for kept in (ours, theirs)]
    return {task.classes[k]: {"candidate": found[0][k], "champion": found[1][k]} for k in task.scored_classes}


def _class_means(task: Task, counts: metrics.Counts) -> list[float]:
    scores = [task.class_scores(confusion)[task.class_headline] for confusion in counts.sum(axis=1)]
    return [round(float(value), _DECIMALS) for value in np.mean(scores, axis=0)]


def _mean(scores: metrics.Scores) -> float:
    return round(float(scores.mean()), _DECIMALS)


def incomparable(task: Task, champion: Mapping[str, Any]) -> str:
    """Why a champion cannot be compared with models of the present task; "" where it can."""
    shape = (champion["height"], champion["width"], champion["channels"])
    if tuple(champion["classes"]) != task.classes:
        return f"its classes were {', '.join(champion['classes'])}"
    if shape != task.image_shape:
        return f"its images were {shape[0]}x{shape[1]} with {shape[2]} channels"
    return ""
