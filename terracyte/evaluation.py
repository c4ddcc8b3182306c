"""Predictions of the test split and their scores; apart from the report's pictures, the one reader of test."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from terracyte import files, metrics, paths, quiet, resampling
from terracyte.data import shift
from terracyte.data.corruptions import SEVERITIES
from terracyte.errors import InputError
from terracyte.identity import data_hash
from terracyte.params import Evaluate
from terracyte.tasks.task import Task

# What `Task.decode` kept of one model's outputs, rows in the order of the test split: of the images as they are
# (n, ...), and under names with `_SHIFT` in front (n, corruptions, ...) of their copies under shift.
Kept = dict[str, NDArray[Any]]

_SHIFT = "shift_"

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


def predict(task: Task, rows: pd.DataFrame, variant: str, seeds: Sequence[int]) -> Kept:
    """Let a model predict the given rows, each once as it is and once under each of the task's corruptions.

    Args:
        task: the variant's.
        rows: of the balanced manifest.
        variant: which variant's model.
        seeds: of several, the models' logits are averaged.

    Returns:
        `id` (n,) and what the task keeps of the logits; see `Kept`.

    Raises:
        InputError: the model can't be read, or its outputs are not finite.
    """
    # Imported here: the report scores stored predictions without Keras.
    with quiet.importing_keras():
        from terracyte import inference
        from terracyte.models import ensemble
        from terracyte.models.saving import read_model

    models = [paths.model(task.name, variant, seed) for seed in seeds]
    ids = rows["id"].to_numpy(np.int64)
    inference.make_repeatable(0)
    model = ensemble.averaged([read_model(path) for path in models])
    copies = 1 + len(task.corruptions)
    bar = tqdm(total=copies * len(ids), desc=f"{variant} seed {' '.join(map(str, seeds))}", unit="image", disable=None)
    parts: list[Kept] = []
    for images in _shown(task, ids):
        logits = next(inference.predict(model, images, np.arange(len(images)), len(images)))
        parts.append(task.decode(_finite(logits, models)))
        bar.update(len(images))
    bar.close()
    kept = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return {"id": ids, **_separated(kept, copies)}


def _shown(task: Task, ids: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
    """Batches (b, h, w, c): all images as they are, then all under the first corruption, and so on."""
    images = np.load(paths.images(task.name), mmap_mode="r")
    batches = [slice(start, start + _BATCH) for start in range(0, len(ids), _BATCH)]
    for batch in batches:
        yield images[ids[batch]]
    if not task.corruptions:
        return
    severities = shift.test_severities(len(ids), len(task.corruptions))
    for column, name in enumerate(task.corruptions):
        for batch in batches:
            yield shift.test_copy(images, ids[batch], name, severities[batch, column])


def _separated(kept: Kept, copies: int) -> Kept:
    """Arrays of all copies' predictions (copies · n, ...) → those of the first, and those of the others."""
    split = {name: array.reshape(copies, -1, *array.shape[1:]) for name, array in kept.items()}
    clean = {name: array[0] for name, array in split.items()}
    if copies == 1:
        return clean
    return clean | {f"{_SHIFT}{name}": array[1:].swapaxes(0, 1) for name, array in split.items()}


def _finite(logits: NDArray[np.floating[Any]], models: Sequence[Path]) -> NDArray[np.floating[Any]]:
    if not np.isfinite(logits).all():
        names = ", ".join(map(str, models))
        raise InputError(f"{names}: its outputs are not finite, the training diverged; lower its learning_rate")
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


def shifted_confusions(task: Task, rows: pd.DataFrame, kept: Sequence[Kept]) -> metrics.Counts:
    """(seeds, groups, k, k) of the copies under shift, summed over corruptions, for tasks that have any."""
    truth, group = _repeated(task, task.targets(rows)), rows["group"].to_numpy(np.int64)
    predicted = [task.predicted(_under_shift(one)) for one in kept]
    return np.stack([metrics.grouped_confusions(truth, one, group, len(task.classes)) for one in predicted])


def summarise(
    task: Task,
    variant: str,
    rows: pd.DataFrame,
    kept: Mapping[int, Kept],
    records: Mapping[int, Mapping[str, Any]],
    settings: Evaluate,
    together: Kept | None = None,
) -> dict[str, Any]:
    """The scores of a variant: of each seed, their mean, and intervals.

    Args:
        task: what to score by.
        variant: name of the row.
        rows: the test split.
        kept: predictions of the rows by seed.
        records: what `trained` returned.
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
        "variant": variant,
        "data_hash": data_hash(task.name),
        "images": len(rows),
        "groups": rows["group"].nunique(),
        "fingerprints": {str(seed): record["fingerprint"] for seed, record in records.items()},
        "seeds": of_seeds,
        "mean": {name: _mean([seed[name] for seed in of_seeds.values()]) for name in _averaged(of_seeds)},
        "together": next(iter(of_seeds.values())) if together is None else _score(task, truth, together),
        "interval": {name: _interval(task, counts, settings) for name, counts in grouped.items()},
    }


def difference(task: Task, one: metrics.Counts, other: metrics.Counts, settings: Evaluate) -> list[float]:
    """Interval of the headline of `one` minus that of `other`, paired: both score the same drawn images.

    Args:
        task: what to score by.
        one, other: (seeds, groups, k, k), see `confusions` and `shifted_confusions`.
        settings: of the resampling.

    Returns:
        Its lower and upper end.
    """
    drawn, subtracted = (_drawn(task, counts, settings) for counts in (one, other))
    return _rounded(resampling.interval(drawn - subtracted, settings.confidence))


def p_value(task: Task, one: metrics.Counts, other: metrics.Counts, settings: Evaluate) -> float:
    """How often chance alone would give headlines as different as those of `one` and `other`, 0-1.

    Args:
        task: what to score by.
        one, other: (seeds, groups, k, k), see `confusions` and `shifted_confusions`.
        settings: of the resampling, see `resampling.permutation_test`.
    """
    p = resampling.permutation_test(one, other, task.headline_scores, settings.bootstrap, settings.seed)
    return round(p, _DECIMALS)


def _drawn(task: Task, counts: metrics.Counts, settings: Evaluate) -> metrics.Scores:
    return resampling.bootstrap(counts, task.headline_scores, settings.bootstrap, settings.seed)


def _interval(task: Task, counts: metrics.Counts, settings: Evaluate) -> list[float]:
    return _rounded(resampling.interval(_drawn(task, counts, settings), settings.confidence))


def _repeated(task: Task, truth: NDArray[Any]) -> NDArray[Any]:
    """(n, ...) → (n, corruptions, ...), the truth of each copy under shift."""
    return np.stack([truth] * len(task.corruptions), axis=1)


def _under_shift(kept: Kept) -> Kept:
    """What was kept of the copies under shift, (n, corruptions, ...) each."""
    return {name.removeprefix(_SHIFT): array for name, array in kept.items() if name.startswith(_SHIFT)}


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
    under, truths = _under_shift(kept), _repeated(task, truth)
    severities = shift.test_severities(*truths.shape[:2])
    flat = {name: array.reshape(-1, *array.shape[2:]) for name, array in under.items()}
    overall = task.scores(truths.reshape(-1, *truth.shape[1:]), flat)
    predicted = task.predicted(under)

    def headline(where: Any) -> float:
        confusion = metrics.confusion_matrix(truths[where], predicted[where], len(task.classes))
        return round(task.headline_score(confusion), _DECIMALS)

    return {
        **{f"{_SHIFT}{name}": round(value, _DECIMALS) for name, value in overall.items()},
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
