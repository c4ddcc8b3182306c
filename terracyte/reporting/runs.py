"""What DVC holds of the declared variants → MLflow's runs."""

from collections.abc import Mapping, Sequence
from typing import Any

from terracyte import paths, tracking
from terracyte.matching import Finished
from terracyte.reporting.records import Record
from terracyte.tasks.task import Task


def reconcile(task: Task, records: Sequence[Record]) -> dict[tuple[str, int], str]:
    """See `tracking.reconcile`; the run of each (variant, seed)."""
    finished = [each for record in records for each in _finished(task, record)]
    return tracking.reconcile(task.name, finished)


def _finished(task: Task, record: Record) -> list[Finished]:
    """One per seed."""
    return [
        Finished(
            identity=identity,
            title=record.variant.title,
            curves=record.curves[record.curves["seed"] == identity.seed].drop(columns="seed"),
            summary=summary(record.training[str(identity.seed)], record.scores["seeds"][str(identity.seed)]),
            model=paths.model(task.name, record.name, identity.seed),
        )
        for identity in record.identities
    ]


def summary(training: Mapping[str, Any], scores: Mapping[str, Any]) -> dict[str, float]:
    """Training facts and test scores of one seed as flat metrics: `best_val_mean_iou`, `test_iou_big_rock`.

    Args:
        training: see `paths.training`.
        scores: numbers by name, and `per_class` with numbers by class and name; see `evaluation.summarise`.
    """
    facts = {f"best_{name}" if name.startswith("val_") else name: value for name, value in training.items()}
    overall = {f"test_{name}": value for name, value in scores.items()}
    per_class = {
        f"test_{name}_{label}".replace(" ", "_"): value
        for label, values in scores["per_class"].items()
        for name, value in values.items()
    }
    return {name: value for name, value in {**facts, **overall, **per_class}.items() if isinstance(value, int | float)}
