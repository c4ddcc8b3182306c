"""The one place where a row's configuration is resolved: reference ← override ← tuned values ← change ← override."""

import dataclasses
from pathlib import Path

from terracyte.core import files, paths
from terracyte.core.errors import InputError
from terracyte.fetch import initialisation
from terracyte.params import Config, Params
from terracyte.params.row import Row, data_hash


def resolve(settings: Params, task: str) -> list[Row]:
    """The task's rows, resolved, on the present data and pretrained weights.

    Raises:
        InputError: the experiment has no such task, or a stage before has not run yet.
    """
    names = settings.rows_of(task)
    tuned = paths.tuned(task)
    if not tuned.exists():
        raise InputError(f"{tuned} is missing: run `dvc repro tune@{task}`")
    values, data = files.read_json(tuned, dict), data_hash(task)
    return [_row(settings, name, settings.config(name, values), data) for name in names]


def write(settings: Params, task: str, folder: Path) -> None:
    """Write one file per row, and one that says how rows are evaluated.

    DVC reads the whole of params.yaml for each parameter of each stage: as files, they cost it nothing.

    Args:
        settings: the experiment.
        task: whose rows.
        folder: an existing one that becomes `paths.configs(task)`.

    Raises:
        InputError: see `resolve`.
    """
    for row in resolve(settings, task):
        files.write_json(folder / paths.config(task, row.variant).name, dataclasses.asdict(row))
    files.write_json(folder / paths.evaluation(task).name, dataclasses.asdict(settings.evaluate))


def _row(settings: Params, name: str, config: Config, data: str) -> Row:
    found, task = initialisation.read(name), settings.variants[name].task
    return Row(
        variant=name,
        task=task,
        spec=settings.tasks[task],
        config=config,
        seeds=settings.seeds_of(name),
        data_hash=data,
        initialisation=found.name,
        weights_hash=found.sha256,
    )
