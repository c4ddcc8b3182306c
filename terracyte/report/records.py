"""Gather what was measured per row, and check that it belongs to the rows as they are configured now.

Everything is read from metrics/, which git holds: tables can be made again in a clone without images.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from terracyte.core import files, metric_files, paths
from terracyte.core.errors import InputError
from terracyte.core.forms import NUMBER, Form
from terracyte.evaluate import confusions, ranking
from terracyte.metrics.confusion import Counts
from terracyte.params import Params, Variant
from terracyte.params import row as rows
from terracyte.params.row import Row
from terracyte.tasks.task import Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """One row and everything that was measured for it.

    Attributes:
        row: the resolved row.
        variant: the variant as params.yaml declares it.
        training: by seed: best epoch, epochs, parameters, validation metric, fingerprint, data hash.
        scores: see `scores.summarise`.
        curves: `seed,epoch,loss,…`, one row per epoch.
        confusions: (seeds, groups, k, k), of the test split.
        compared_with: the row from which the table shows the difference; None for the first row.
    """

    row: Row
    variant: Variant
    training: Mapping[str, Mapping[str, Any]]
    scores: Mapping[str, Any]
    curves: pd.DataFrame
    confusions: Counts
    compared_with: str | None

    @property
    def name(self) -> str:
        """The variant's name."""
        return self.row.variant

    @property
    def seeds(self) -> tuple[int, ...]:
        """The trained seeds."""
        return self.row.seeds


def gather(task: Task, settings: Params) -> list[Record]:
    """Return the records of the task's rows in the order of experiment.yaml; results of other rows are ignored.

    Raises:
        InputError: a file is missing or stale; the message names the command that makes the file.
    """
    return [record(task, name, settings) for name in settings.rows_of(task.name)]


def best(task: Task, records: list[Record]) -> Record:
    """Return the record with the best validation score; test scores are only reported and choose nothing.

    Records outside the challenge's rules compete only if there are none within them.
    """
    competing = [record for record in records if not record.variant.marked] or records
    name = ranking.best_variant(task, {record.name: record.training for record in competing})
    return next(record for record in competing if record.name == name)


def record(task: Task, name: str, settings: Params) -> Record:
    """Return the record of one row.

    Raises:
        InputError: a file is missing or stale; the message names the command that makes the file.
    """
    train, evaluate = f"train@{name}", f"evaluate@{name}"
    row = rows.read(task.name, name)
    counted = dict.fromkeys([f"val_{task.selection}", "parameters", "best_epoch", "epochs"], NUMBER)
    of_training = {str: {"fingerprint": str, "code": str, **counted}}
    with files.advising(f"run `dvc repro {train}`"):
        training = metric_files.read(paths.training(task.name, name), of_training)
    with files.advising(f"run `dvc repro {evaluate}`"):
        scores = metric_files.read(paths.scores(task.name, name), _form_of_scores(task, row))
        counts = confusions.read(paths.confusions(task.name, name))
    trained = {seed: run["fingerprint"] for seed, run in training.items()}
    _check_fingerprints(trained, row, paths.training(task.name, name), train)
    curves = _curves(task, row, train)
    _check_fingerprints(scores["fingerprints"], row, paths.scores(task.name, name), evaluate)
    _check_confusions(counts, scores, row, evaluate)
    return Record(
        row=row,
        variant=settings.variants[name],
        training=training,
        scores=scores,
        curves=curves,
        confusions=counts,
        compared_with=settings.compared_with(name),
    )


def headlines(task: Task) -> list[str]:
    """The scores that have intervals: the headline, and the one under shift where the task has it."""
    return [name for name in (task.headline, task.shift_headline) if name]


def _form_of_scores(task: Task, row: Row) -> Form:
    """Return the form of a row's scores: the values that the tables need."""
    classes = {task.classes[label]: {task.class_headline: NUMBER} for label in task.scored_classes}
    shift = {"shift": dict.fromkeys(task.corruptions, NUMBER), "shift_severity": [NUMBER]} if task.corruptions else {}
    several = {"together": dict.fromkeys(headlines(task), NUMBER)} if len(row.seeds) > 1 else {}
    return {
        "fingerprints": {str: str},
        "groups": int,
        "seeds": {str: {"confusion": list}},
        "mean": {**dict.fromkeys([*headlines(task), *task.other_scores], NUMBER), "per_class": classes, **shift},
        "interval": {name: [NUMBER, NUMBER] for name in headlines(task)},
        **several,
    }


def _curves(task: Task, row: Row, stage: str) -> pd.DataFrame:
    path = paths.curves(task.name, row.variant)
    with files.advising(f"run `dvc repro {stage}`"):
        curves = files.read_csv(path)
    lacking = {"seed", "epoch", "loss", "val_loss", f"val_{task.selection}"} - set(curves.columns)
    if lacking:
        raise InputError(f"{path} has no column '{min(lacking)}': run `dvc repro {stage}`")
    if set(curves["seed"]) != set(row.seeds):
        raise InputError(f"{path}: its seeds are not those of the row: run `dvc repro {stage}`")
    return curves


def _check_fingerprints(found: Mapping[str, str], row: Row, path: Path, stage: str) -> None:
    """Refuse runs of another configuration, other data or another list of seeds, which must not enter a table."""
    due = row.fingerprints
    stale = sorted(seed for seed in {*found, *due} if found.get(seed) != due.get(seed))
    if stale:
        raise InputError(
            f"{path}: seed {', '.join(stale)} does not belong to the present params and data: run `dvc repro {stage}`"
        )


def _check_confusions(counts: Counts, scores: Mapping[str, Any], row: Row, stage: str) -> None:
    """Refuse confusion matrices of other scores: differences and tests must belong to the scores beside them."""
    path = paths.confusions(row.task, row.variant)
    if counts.shape[:2] != (len(row.seeds), scores["groups"]):
        raise InputError(f"{path}: its seeds or groups do not match the scores: run `dvc repro {stage}`")
    for seed, counted in zip(row.seeds, counts.sum(axis=1), strict=True):
        if not np.array_equal(counted, scores["seeds"].get(str(seed), {}).get("confusion")):
            raise InputError(f"{path}: seed {seed} does not match the scores: run `dvc repro {stage}`")
