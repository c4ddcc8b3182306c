"""Scores of the test split from its predictions, with intervals and paired comparisons."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terracyte.core.hashing import code_hash
from terracyte.evaluate.confusions import confusions, repeated, shifted_confusions, under_shift
from terracyte.evaluate.predictions import SHIFT, Kept
from terracyte.images.shift import copies
from terracyte.images.shift.corruptions import SEVERITIES
from terracyte.metrics import confusion as metrics
from terracyte.metrics import resampling
from terracyte.params import Evaluate
from terracyte.params.row import Row
from terracyte.tasks.task import Task

# The packages that decide scores besides those that decide the model.
PACKAGES = ("evaluate", "images", "metrics", "models", "tasks")

# Float noise, which differs between processors, lies beyond.
_DECIMALS = 6


def summarise(
    task: Task,
    row: Row,
    rows: pd.DataFrame,
    kept: Mapping[int, Kept],
    settings: Evaluate,
    together: Kept | None = None,
) -> dict[str, Any]:
    """The scores of a variant: of each seed, their mean, and intervals.

    Args:
        task: what to score by.
        row: whose predictions they are.
        rows: the test split.
        kept: predictions of the rows by seed.
        settings: of the intervals, which are over groups of test images and over training seeds.
        together: predictions of all seeds' averaged logits, where there are several seeds.

    Returns:
        `seeds` by seed: the task's scores by name, `per_class` and `confusion`; for tasks with corruptions also
        the same scores over all copies under shift (`shift_accuracy`), `shift` with the headline by corruption,
        and `shift_severity` with the headline at severities 1 to 5. `mean` over the seeds likewise, and `together`
        of the averaged logits (of the only seed, where there is but one). `interval` of the headline and of the
        shift headline. What was scored: `images`, `groups`, `data_hash`,
        `fingerprints`.
    """
    truth, predictions = task.targets(rows), list(kept.values())
    of_seeds = {str(seed): _score(task, truth, one) for seed, one in kept.items()}
    grouped = {task.headline: confusions(task, rows, predictions)}
    if task.shift_headline:
        grouped[task.shift_headline] = shifted_confusions(task, rows, predictions)
    return {
        "task": task.name,
        "variant": row.variant,
        "data_hash": row.data_hash,
        "code": code_hash(*PACKAGES),
        "images": len(rows),
        "groups": rows["group"].nunique(),
        "fingerprints": row.fingerprints,
        "seeds": of_seeds,
        "mean": {name: _mean([seed[name] for seed in of_seeds.values()]) for name in _averaged(of_seeds)},
        "together": next(iter(of_seeds.values())) if together is None else _score(task, truth, together),
        "interval": {name: _interval(task, counts, settings) for name, counts in grouped.items()},
    }


def difference(task: Task, one: metrics.Counts, other: metrics.Counts, settings: Evaluate) -> list[float]:
    """Interval of the headline of `one` minus that of `other`, paired: both score the same drawn images.

    Args:
        task: what to score by.
        one, other: (seeds, groups, k, k), see `confusions` and `shifted_confusions`; or (seeds, groups, parts, k, k),
            the mean of whose headlines is compared.
        settings: of the resampling.

    Returns:
        Its lower and upper end.
    """
    drawn, subtracted = (_drawn(task, counts, settings) for counts in resampling.alike(one, other))
    return _rounded(resampling.interval(drawn - subtracted, settings.confidence))


def p_value(task: Task, one: metrics.Counts, other: metrics.Counts, settings: Evaluate) -> float:
    """How often chance alone would give headlines as different as those of `one` and `other`, 0-1.

    Args:
        task: what to score by.
        one, other: (seeds, groups, k, k), see `confusions` and `shifted_confusions`; or (seeds, groups, parts, k, k),
            the mean of whose headlines is compared.
        settings: of the resampling, see `resampling.permutation_test`.
    """
    pair = resampling.alike(one, other)
    p = resampling.permutation_test(*pair, _headline(task, one), settings.bootstrap, settings.seed)
    return round(p, _DECIMALS)


def _headline(task: Task, counts: metrics.Counts) -> resampling.Score:
    """Of counts with several parts, their mean."""
    if counts.ndim == 4:
        return task.headline_scores
    return lambda drawn: task.headline_scores(drawn).mean(axis=-1)


def _drawn(task: Task, counts: metrics.Counts, settings: Evaluate) -> metrics.Scores:
    return resampling.bootstrap(counts, _headline(task, counts), settings.bootstrap, settings.seed)


def _interval(task: Task, counts: metrics.Counts, settings: Evaluate) -> list[float]:
    return _rounded(resampling.interval(_drawn(task, counts, settings), settings.confidence))


def _score(task: Task, truth: NDArray[Any], kept: Kept) -> dict[str, Any]:
    confusion = metrics.confusion_matrix(truth, task.predicted(kept), len(task.classes))
    under_shift = _shift_scores(task, truth, kept) if task.corruptions else {}
    overall = task.scores(truth, kept)
    return {
        **{name: round(value, _DECIMALS) for name, value in overall.items()},
        **under_shift,
        "per_class": _per_class(task, confusion),
        "confusion": confusion.tolist(),
    }


def _shift_scores(task: Task, truth: NDArray[Any], kept: Kept) -> dict[str, Any]:
    """All scores over the copies under shift; the headline of each corruption and of each severity."""
    under, truths = under_shift(kept), repeated(task, truth)
    severities = copies.test_severities(*truths.shape[:2])
    flat = {name: array.reshape(-1, *array.shape[2:]) for name, array in under.items()}
    overall = task.scores(truths.reshape(-1, *truth.shape[1:]), flat)
    predicted = task.predicted(under)

    def headline(where: Any) -> float:
        confusion = metrics.confusion_matrix(truths[where], predicted[where], len(task.classes))
        return round(task.headline_score(confusion), _DECIMALS)

    return {
        **{f"{SHIFT}{name}": round(value, _DECIMALS) for name, value in overall.items()},
        "shift": {name: headline((slice(None), column)) for column, name in enumerate(task.corruptions)},
        "shift_severity": [headline(severities == severity) for severity in SEVERITIES],
    }


def _per_class(task: Task, confusion: metrics.Counts) -> dict[str, dict[str, float]]:
    scores = task.class_scores(confusion)
    return {
        task.classes[k]: {name: round(float(values[k]), _DECIMALS) for name, values in scores.items()}
        for k in task.scored_classes
    }


def _averaged(of_seeds: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names of the scores that have a mean."""
    return [name for name in next(iter(of_seeds.values())) if name != "confusion"]


def _mean(of_seeds: Sequence[Any]) -> Any:
    """Mean of numbers, or of equally shaped mappings and lists of numbers."""
    first = of_seeds[0]
    if isinstance(first, Mapping):
        return {name: _mean([seed[name] for seed in of_seeds]) for name in first}
    if isinstance(first, list):
        return [_mean(values) for values in zip(*of_seeds, strict=True)]
    return round(float(np.mean(of_seeds)), _DECIMALS)


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, _DECIMALS) for value in values]
