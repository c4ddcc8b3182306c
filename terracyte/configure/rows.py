"""The one place where a row's configuration is resolved: reference ← override ← tuned values ← change ← override,
of a variant and of each of its members."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from terracyte.core import files, paths
from terracyte.core.errors import InputError
from terracyte.fetch import initialisation
from terracyte.params import Params
from terracyte.params.row import Row, Start, data_hash


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


def _starts(settings: Params, name: str, tuned: Mapping[str, object]) -> tuple[Start, ...]:
    starts = []
    for number, member in enumerate(settings.members(name)):
        found = initialisation.read(name, number)
        config = settings.config(name, tuned, member)
        starts.append(Start(config=config, initialisation=found.name, weights_hash=found.sha256))
    return tuple(starts)
