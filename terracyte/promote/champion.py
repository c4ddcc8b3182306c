"""A champion's folder: all that predicting, serving and later comparisons need, wherever it lies."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from terracyte import tasks
from terracyte.core import files
from terracyte.core.errors import InputError
from terracyte.params import TaskSpec
from terracyte.tasks.task import Task

RECORD = "champion.json"  # what `contenders.describe` returns, why it became champion, and how it was tested
MODEL = "model.keras"  # one model, all seeds together
CALIBRATION = "calibration.json"  # what turns its logits into confidence, see `calibration`
NOVELTY = "novelty.npz"  # what tells images unlike the training images, see `novelty`
SCORES = "scores.json"  # see `evaluate.scores.summarise`
TESTED = "predictions/tested.parquet"  # its test images, in the order of the predictions
CARD = "card.md"  # the model card


def prediction(seed: int) -> str:
    """The file of one seed's predictions of the test images."""
    return f"predictions/seed_{seed}.npz"


def read_record(folder: Path, task: str | None = None) -> dict[str, Any]:
    """Read and check `champion.json`.

    Args:
        folder: of the champion.
        task: whose champion it must be; None for any.

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
        # champions from before these settings have none of them
        pixel_range=None if (ends := record.get("pixel_range")) is None else (ends[0], ends[1]),
        transparent=record.get("transparent", "refuse"),
        fit=record.get("fit", "stretch"),
    )
    return tasks.of(record["task"], spec)
