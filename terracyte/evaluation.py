"""Predictions of the test split and their scores; apart from the report's pictures, the one reader of test."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from terracyte import files, metrics, paths, quiet
from terracyte.errors import InputError
from terracyte.identity import data_hash
from terracyte.params import Evaluate
from terracyte.tasks.task import Task

# What `Task.decode` kept of one model's outputs, rows in the order of the test split.
Kept = dict[str, NDArray[Any]]

# Float noise, which differs between processors, lies beyond.
_DECIMALS = 6
_BATCH = 64  # images per step; no result depends on it


def test_rows(task: str) -> pd.DataFrame:
    """The test split: the balanced manifest's rows, in ascending order of id.

    Raises:
        InputError: nothing was balanced yet, or the split is empty.
    """
    path = paths.balance_manifest(task)
    if not path.exists():
        raise InputError(f"{path} is missing: run `dvc repro balance@{task}`")
    manifest = pd.read_parquet(path)
    rows = manifest[manifest["split"] == "test"].sort_values("id", ignore_index=True)
    if rows.empty:
        raise InputError(f"{path}: no row's split is 'test'; raise balance.{task}.test in params.yaml")
    return rows


def trained(task: str, variant: str, seeds: Sequence[int]) -> dict[int, dict[str, Any]]:
    """What each seed's training left behind, checked to stand on the present splits.

    A model that was trained on other splits may have seen today's test images.

    Raises:
        InputError: a seed wasn't trained, or was on other data.
    """
    command = f"run `dvc repro train@{variant}`"
    path = paths.training(task, variant)
    records = files.read_json(path) if path.exists() else {}
    present = data_hash(task)
    for seed in seeds:
        model = paths.model(task, variant, seed)
        if str(seed) not in records or not model.exists():
            raise InputError(f"{model} is missing: {command}")
        if records[str(seed)]["data_hash"] != present:
            raise InputError(f"{model} was trained on other data than {paths.balance_manifest(task)}: {command}")
    return {seed: records[str(seed)] for seed in seeds}


def predict(task: Task, rows: pd.DataFrame, variant: str, seed: int) -> Kept:
    """Let one model predict the given rows, each once.

    Returns:
        `id` (n,) and what the task keeps of the logits.

    Raises:
        InputError: the model can't be read, or its outputs are not finite.
    """
    # Imported here: the report scores stored predictions without Keras.
    with quiet.importing_keras():
        from terracyte import fitting
        from terracyte.models.saving import read_model

    path = paths.model(task.name, variant, seed)
    images, ids = np.load(paths.images(task.name), mmap_mode="r"), rows["id"].to_numpy(np.int64)
    fitting.make_repeatable(seed)
    batches = fitting.predict(read_model(path), images, ids, _BATCH)
    total, title = math.ceil(len(ids) / _BATCH), f"{variant} seed {seed}"
    bar = tqdm(batches, total=total, desc=title, unit="batch", disable=None)
    parts = [task.decode(_finite(logits, path)) for logits in bar]
    return {"id": ids, **{name: np.concatenate([part[name] for part in parts]) for name in parts[0]}}


def _finite(logits: NDArray[np.floating[Any]], path: Path) -> NDArray[np.floating[Any]]:
    if not np.isfinite(logits).all():
        raise InputError(f"{path}: its outputs are not finite, the training diverged; lower its learning_rate")
    return logits


def stored(task: str, variant: str, seed: int, rows: pd.DataFrame) -> Kept:
    """Read the predictions of one model back.

    Raises:
        InputError: they are missing, or are not those of `rows`.
    """
    path = paths.prediction(task, variant, seed)
    kept = files.read_arrays(path) if path.exists() else {}
    if not np.array_equal(kept.get("id", np.zeros(0)), rows["id"]):
        raise InputError(f"{path} is missing or not of the present test split: run `dvc repro evaluate@{variant}`")
    return kept


def confusions(task: Task, rows: pd.DataFrame, kept: Sequence[Kept]) -> metrics.Counts:
    """(seeds, groups, k, k) confusion matrices of several models' predictions of the same rows."""
    truth, group = task.targets(rows), rows["group"].to_numpy(np.int64)
    return np.stack([metrics.grouped_confusions(truth, task.predicted(one), group, len(task.classes)) for one in kept])


def summarise(
    task: Task,
    variant: str,
    rows: pd.DataFrame,
    kept: Mapping[int, Kept],
    records: Mapping[int, Mapping[str, Any]],
    settings: Evaluate,
) -> dict[str, Any]:
    """The scores of a variant: of each seed, their mean, and an interval.

    Args:
        task: what to score by.
        variant: name of the row.
        rows: the test split.
        kept: predictions of the rows by seed.
        records: what `trained` returned.
        settings: of the interval, which is over groups of test images and over training seeds.
    """
    truth = task.targets(rows)
    of_seeds = {str(seed): _score(task, truth, one) for seed, one in kept.items()}
    grouped = confusions(task, rows, list(kept.values()))
    drawn = metrics.bootstrap(grouped, task.headline_scores, settings.bootstrap, settings.seed)
    return {
        "task": task.name,
        "variant": variant,
        "data_hash": data_hash(task.name),
        "images": len(rows),
        "groups": grouped.shape[1],
        "fingerprints": {str(seed): record["fingerprint"] for seed, record in records.items()},
        "seeds": of_seeds,
        "mean": _mean(list(of_seeds.values())),
        "interval": {task.headline: _rounded(metrics.interval(drawn, settings.confidence))},
    }


def difference(task: Task, one: metrics.Counts, other: metrics.Counts, settings: Evaluate) -> list[float]:
    """Interval of the headline of `one` minus that of `other`, paired: both score the same drawn images.

    Args:
        task: what to score by.
        one, other: (seeds, groups, k, k), see `confusions`.
        settings: of the resampling.

    Returns:
        Its lower and upper end.
    """
    drawn, subtracted = (
        metrics.bootstrap(part, task.headline_scores, settings.bootstrap, settings.seed) for part in (one, other)
    )
    return _rounded(metrics.interval(drawn - subtracted, settings.confidence))


def _score(task: Task, truth: NDArray[Any], kept: Kept) -> dict[str, Any]:
    confusion = metrics.confusion_matrix(truth, task.predicted(kept), len(task.classes))
    overall = {name: round(value, _DECIMALS) for name, value in task.scores(truth, kept).items()}
    return {**overall, "per_class": _per_class(task, confusion), "confusion": confusion.tolist()}


def _per_class(task: Task, confusion: metrics.Counts) -> dict[str, dict[str, float]]:
    scores = task.class_scores(confusion)
    return {
        task.classes[k]: {name: round(float(values[k]), _DECIMALS) for name, values in scores.items()}
        for k in task.scored_classes
    }


def _mean(of_seeds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean of nested mappings of numbers, `confusion` left out."""
    mean: dict[str, Any] = {}
    for name, value in of_seeds[0].items():
        if name != "confusion":
            values = [seed[name] for seed in of_seeds]
            mean[name] = _mean(values) if isinstance(value, Mapping) else round(float(np.mean(values)), _DECIMALS)
    return mean


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, _DECIMALS) for value in values]
