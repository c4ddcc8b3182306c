"""A champion's folder: all that predicting and serving need, wherever it lies.

`champion.json` (task, classes and form of the images), `model.keras`, `calibration.json`, `familiarity.npz`, and the
model card.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from terracyte import tasks
from terracyte.core import files
from terracyte.core.errors import InputError
from terracyte.params import TaskSpec
from terracyte.tasks.task import Task

RECORD, CARD = "champion.json", "card.md"
MODEL, CALIBRATION, FAMILIARITY = "model.keras", "calibration.json", "familiarity.npz"


def read_record(folder: Path, task: str | None = None) -> dict[str, Any]:
    """Read and check `champion.json`.

    Raises:
        InputError: it is missing, no JSON, or another task's.
    """
    path, command = folder / RECORD, f"`dvc repro promote@{task or 'TASK'}`"
    if not path.exists():
        raise InputError(f"{folder} holds no champion ({RECORD} is missing): run {command}, or name another folder")
    try:
        record: dict[str, Any] = files.read_json(path)
        of_task = record["task"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error}): run {command} again") from error
    if task not in (None, of_task):
        raise InputError(f"{folder} is the champion of {of_task}, not of {task}: name the folder of {task}'s")
    return record


def task_of(record: Mapping[str, Any]) -> Task:
    """The task of which a record holds the description."""
    background = record["background"]
    spec = TaskSpec(
        kind=record["kind"],
        classes=tuple(record["classes"]),
        height=record["height"],
        width=record["width"],
        channels=record["channels"],
        background=None if background is None else record["classes"][background],
    )
    return tasks.of(record["task"], spec)
