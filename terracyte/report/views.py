"""What MLflow's UI shows first of a task: its current runs, those of the published steps, its searches."""

import dataclasses
from collections.abc import Sequence

from terracyte.report.records import Record
from terracyte.tasks.task import Task
from terracyte.tracking import views
from terracyte.tracking.views import CURRENT, View

CURRENT_RUNS = "current"


def save(task: Task, records: Sequence[Record]) -> None:
    """Offer the task's views in the UI's menu "Views".

    Raises:
        InputError: the tracking store cannot be used.
    """
    views.save_views(task.name, _views(task, records))


def published(records: Sequence[Record]) -> list[str]:
    """The variants that have a published score, in the order of params.yaml."""
    return [record.name for record in records if record.variant.published is not None]


def _views(task: Task, records: Sequence[Record]) -> list[View]:
    steps = [record for record in records if record.variant.published is not None]
    current = View(
        key=CURRENT_RUNS,
        name="Current runs, best first",
        search=f"{CURRENT} AND tags.fingerprint != ''",
        order=_headline(task),
        columns=(*_scores(task), *_params(records)),
    )
    searches = View(
        key="searches",
        name="Trials of the searches",
        search="tags.status = 'tuning'",
        order="best_score",
        columns=("metrics.`best_score`",),
    )
    if not steps:
        return [current, searches]
    compared = dataclasses.replace(
        current,
        key="published",
        name="Published steps and what they change",
        search=f"{CURRENT} AND tags.published != 'no'",
        columns=(*_scores(task), *_params(steps)),
    )
    return [current, compared, searches]


def _headline(task: Task) -> str:
    return f"test_{task.headline}"


def _scores(task: Task) -> list[str]:
    names = [task.headline, task.shift_headline]
    overall = [f"test_{name}" for name in names if name] + [f"best_val_{task.selection}"]
    classes = [f"test_{task.class_headline}_{task.classes[k]}".replace(" ", "_") for k in task.scored_classes]
    return [f"metrics.`{name}`" for name in [*overall, *classes]]


def _params(records: Sequence[Record]) -> list[str]:
    """Columns of the parameters in which the variants differ."""
    configs = [dataclasses.asdict(record.identities[0].config) for record in records]
    return [f"params.`{key}`" for key in configs[0] if len({repr(config[key]) for config in configs}) > 1]
