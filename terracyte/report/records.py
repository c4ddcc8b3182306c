"""What was measured, gathered per declared variant and checked to belong to the present params and data."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from terracyte.configure import initialisation
from terracyte.configure.identity import Identity
from terracyte.core import metric_files, paths
from terracyte.core.errors import InputError
from terracyte.evaluate import predictions, ranking
from terracyte.evaluate import scores as evaluation
from terracyte.metrics import confusion
from terracyte.params import Params, Variant
from terracyte.tasks.task import Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """One declared variant and everything DVC holds of it.

    Attributes:
        name: the variant's name.
        variant: what params.yaml declares.
        identities: who each seed's run is, in the order of params.seeds.
        training: by seed: best epoch, epochs, parameters, validation metric, fingerprint, data hash.
        scores: see `evaluation.summarise`.
        curves: `seed,epoch,loss,…`, one row per epoch.
        confusions: (seeds, groups, k, k), of the test split.
        compared_with: the variant to which the table shows the difference; None for the first row.
    """

    name: str
    variant: Variant
    identities: tuple[Identity, ...]
    training: Mapping[str, Mapping[str, Any]]
    scores: Mapping[str, Any]
    curves: pd.DataFrame
    confusions: confusion.Counts
    compared_with: str | None

    @property
    def seeds(self) -> tuple[int, ...]:
        """The trained seeds."""
        return tuple(identity.seed for identity in self.identities)


def gather(task: Task, settings: Params) -> list[Record]:
    """The task's variants in the order of params.yaml; what else lies on the disk is not looked at.

    Raises:
        InputError: no variant is declared, or a file is missing or stale; it names the command that makes it.
    """
    variants = settings.variants_of(task.name)
    if not variants:
        raise InputError(f"params.yaml: 'variants' has none of task {task.name}; declare at least one")
    _existing(paths.balance(task.name), f"balance@{task.name}")
    rows = predictions.test_rows(task.name)
    return [record(task, name, settings, rows) for name in variants]


def best(task: Task, records: list[Record]) -> Record:
    """The record that validation chooses (test only reports); see `ranking.best_variant`."""
    name = ranking.best_variant(task, {record.name: record.training for record in records})
    return next(record for record in records if record.name == name)


def record(task: Task, name: str, settings: Params, rows: pd.DataFrame) -> Record:
    """One variant.

    Args:
        task: the variant's.
        name: of the variant.
        settings: decide what its runs should be.
        rows: the test split.

    Raises:
        InputError: a file is missing or stale; it names the command that makes it.
    """
    train, evaluate = f"train@{name}", f"evaluate@{name}"
    training = metric_files.read(_existing(paths.training(task.name, name), train))
    scores = metric_files.read(_existing(paths.scores(task.name, name), evaluate))
    curves = pd.read_csv(_existing(paths.curves(task.name, name), train))
    identities = initialisation.identities(settings, name)
    due = {str(identity.seed): identity.fingerprint for identity in identities}
    trained = {seed: run["fingerprint"] for seed, run in training.items()}
    _check_fingerprints(trained, due, paths.training(task.name, name), train)
    _check_fingerprints(scores["fingerprints"], due, paths.scores(task.name, name), evaluate)
    kept = [predictions.stored(task.name, name, seed, rows) for seed in settings.seeds]
    confusions = evaluation.confusions(task, rows, kept)
    _check_confusions(confusions, scores, settings.seeds, paths.scores(task.name, name), evaluate)
    return Record(
        name=name,
        variant=settings.variants[name],
        identities=identities,
        training=training,
        scores=scores,
        curves=curves,
        confusions=confusions,
        compared_with=settings.compared_with(name),
    )


def _existing(path: Path, stage: str) -> Path:
    if not path.exists():
        raise InputError(f"{path} is missing: run `dvc repro {stage}`")
    return path


def _check_fingerprints(found: dict[str, str], due: dict[str, str], path: Path, stage: str) -> None:
    """Runs of another configuration, data or list of seeds must not enter a table."""
    stale = sorted(seed for seed in {*found, *due} if found.get(seed) != due.get(seed))
    if stale:
        raise InputError(
            f"{path}: seed {', '.join(stale)} does not belong to the present params and data: run `dvc repro {stage}`"
        )


def _check_confusions(
    confusions: confusion.Counts, scores: Mapping[str, Any], seeds: tuple[int, ...], path: Path, stage: str
) -> None:
    """The scores must be those of the predictions that the page shows."""
    for seed, counted in zip(seeds, confusions.sum(axis=1), strict=True):
        if not np.array_equal(counted, scores["seeds"][str(seed)]["confusion"]):
            raise InputError(
                f"{path}: seed {seed} was scored on other predictions than those stored: run `dvc repro {stage}`"
            )
