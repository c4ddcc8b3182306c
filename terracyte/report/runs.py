"""Bring MLflow's runs up to date with DVC's outputs of the declared variants."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from terracyte import tracking
from terracyte.core import files, paths
from terracyte.report.records import Record
from terracyte.tasks.task import Task
from terracyte.tracking.run_matching import Finished


def reconcile(task: Task, records: Sequence[Record]) -> dict[tuple[str, int], str]:
    """Bring the trainings and the search in a task's MLflow experiment up to date; see `tracking.reconcile`.

    Returns:
        The run id of each (variant, seed).

    Raises:
        InputError: the tracking store cannot be used.
    """
    found = tracking.reconcile(task.name, [each for record in records for each in _finished(task, record)])
    if paths.tuning(task.name).exists():
        tracking.log_study(task.name, files.read_json(paths.tuning(task.name)))
    return found


def log_report(task: Task) -> None:
    """Log the report to MLflow if all its files exist; see `tracking.log_report`."""
    name = task.name
    pages = [paths.report(name), paths.ablation_csv(name), paths.ablation_markdown(name)]
    if all(page.exists() for page in pages):
        tracking.log_report(name, pages)


def _finished(task: Task, record: Record) -> list[Finished]:
    """Return one finished training per seed."""
    return [
        Finished(
            identity=identity,
            title=record.variant.title,
            curves=record.curves[record.curves["seed"] == identity.seed].drop(columns="seed"),
            summary=summary(record.training[str(identity.seed)], record.scores["seeds"][str(identity.seed)]),
            model=paths.model(task.name, record.name, identity.seed),
            published=record.variant.published,
        )
        for identity in record.row.identities
    ]


def summary(training: Mapping[str, Any], scores: Mapping[str, Any]) -> dict[str, float]:
    """Return training facts and test scores of one seed as flat metrics: `best_val_mean_iou`, `test_iou_big_rock`.

    Args:
        training: see `paths.training`.
        scores: numbers by name, and `per_class` with numbers by class and name; see `scores.summarise`.
    """
    facts = {f"best_{name}" if name.startswith("val_") else name: value for name, value in training.items()}
    overall = {f"test_{name}": value for name, value in scores.items()}
    per_class = {
        f"test_{name}_{label}": value
        for label, values in zip(_metric_names(scores["per_class"]), scores["per_class"].values(), strict=True)
        for name, value in values.items()
    }
    return {name: value for name, value in {**facts, **overall, **per_class}.items() if isinstance(value, int | float)}


def _metric_names(classes: Iterable[str]) -> list[str]:
    """Return distinct class names with only characters that MLflow allows in metrics; tables show the real names."""
    names: list[str] = []
    for number, label in enumerate(classes):
        safe = re.sub(r"[^\w.\-/]+", "_", label, flags=re.ASCII).strip("_")
        while not safe or safe in names:
            safe += f"_{number}"
        names.append(safe)
    return names
