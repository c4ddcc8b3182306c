"""Resolve each row: its configurations (`Params.config`), initial weights and seeds."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from terracyte.core import files, paths
from terracyte.fetch import initialisation
from terracyte.params import Params
from terracyte.params.row import Row, Start, data_hash


def resolve(settings: Params, task: str) -> list[Row]:
    """Resolve the task's rows with the current data and pretrained weights.

    Raises:
        InputError: the experiment has no such task, or an earlier stage has not run yet.
    """
    names = settings.rows_of(task)
    with files.advising(f"run `dvc repro tune@{task}`"):
        values = files.read_json(paths.tuned(task), dict)
    data = data_hash(task)
    return [
        Row(
            variant=name,
            task=task,
            spec=settings.tasks[task],
            starts=_starts(settings, name, values),
            seeds=settings.seeds_of(name),
            data_hash=data,
        )
        for name in names
    ]


def write(settings: Params, task: str, folder: Path) -> None:
    """Write one file per row, and one with the evaluation settings.

    Later stages depend on these files, because DVC would read all of params.yaml for each parameter of each stage.

    Args:
        settings: the experiment.
        task: the task the rows belong to.
        folder: an existing folder, which becomes `paths.configs(task)`.

    Raises:
        InputError: see `resolve`.
    """
    for row in resolve(settings, task):
        files.write_json(folder / paths.config(task, row.variant).name, dataclasses.asdict(row))
    files.write_json(folder / paths.evaluation(task).name, dataclasses.asdict(settings.evaluate))


def _starts(settings: Params, name: str, tuned: Mapping[str, object]) -> tuple[Start, ...]:
    starts = []
    for number, member in enumerate(settings.members(name)):
        found = initialisation.read(name, number)
        config = settings.config(name, tuned, member)
        starts.append(Start(config=config, initialisation=found.name, weights_hash=found.sha256))
    return tuple(starts)
