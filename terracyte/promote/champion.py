"""A champion's folder, wherever it is: it holds all that predicting, serving and later comparisons need."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from terracyte import tasks
from terracyte.core import files, paths
from terracyte.core.errors import InputError
from terracyte.params import TaskSpec
from terracyte.params.schema import build
from terracyte.tasks.task import Task

RECORD = "champion.json"  # what `contenders.describe` returns, why it became champion, and how it was tested
MODEL = "model.keras"  # one model, all seeds together
CALIBRATION = "calibration.json"  # the temperature that turns its logits into confidences, see `calibration`
NOVELTY = "novelty.npz"  # the detector of images unlike the training images, see `novelty`
SCORES = "scores.json"  # see `evaluate.scores.summarise`
TESTED = "predictions/tested.parquet"  # its test images, in the order of the predictions
CARD = "card.md"  # the model card

# what a record must hold to define its task
_DESCRIPTION = dict.fromkeys(("kind", "classes", "height", "width", "channels", "background"), object)
_DESCRIPTION |= {"task": str, "variant": str}
# what `promote` and `report` need in addition
_TRAININGS = {"variant": str, "seeds": [int], "fingerprints": [str]}
WITH_REASONS = {**_TRAININGS, "data_hash": str, "reasons": [str], "behaviour": {str: {"passed": bool}}}
_DECIDED = {"promoted": bool, "reasons": [str], "against": [str]}


def same_trainings(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two descriptions are of the same trainings, whatever their variants are called.

    A fingerprint covers the whole configuration but not the code, so the hash of the models is compared, too: other
    code trains other models. Champions from before this hash was recorded have none.
    """
    hashes = {one.get("models"), other.get("models")} - {None}
    return sorted(one["fingerprints"]) == sorted(other.get("fingerprints", [])) and len(hashes) < 2


def prediction(seed: int) -> str:
    """Return the name of the file with one seed's predictions of the test images."""
    return f"predictions/seed_{seed}.npz"


def restoring(folder: Path) -> AbstractContextManager[None]:
    """Advise to restore the folder if one of its files cannot be used: made again, it would hold another model."""
    return files.advising(f"restore it with `dvc checkout {folder}`, or delete the folder and run `dvc repro`")


def read_record(folder: Path, task: str | None = None, experiment: Path = Path()) -> dict[str, Any]:
    """Read and check `champion.json`.

    Args:
        folder: the champion's folder.
        task: the task whose champion it must be; None for any task.
        experiment: the folder in which `dvc repro` would make it.

    Raises:
        InputError: the file is missing, damaged, or of another task.
    """
    if not (folder / RECORD).exists():
        command = f"`dvc repro promote@{task or 'TASK'}`{paths.inside(experiment)}"
        raise InputError(f"{folder} holds no champion ({RECORD} is missing): run {command}, or name another folder")
    with restoring(folder):
        record: dict[str, Any] = files.read_json(folder / RECORD, _DESCRIPTION)
    of_task = record["task"]
    task_of(record)  # raises if the record describes no valid task
    if task not in (None, of_task):
        raise InputError(
            f"{folder} holds the champion of {of_task}, not of {task}: name the folder of {task}'s champion"
        )
    return record


def read_decision(task: str) -> dict[str, Any]:
    """Read the latest decision of `promote` from `paths.promotion`.

    Raises:
        InputError: the file is missing or damaged.
    """
    path = paths.promotion(task)
    history = [{"candidate": str, **_DECIDED}]
    form = {"champion": {"variant": (str, type(None))}, "candidate": _TRAININGS, **_DECIDED, "history": history}
    with files.advising(f"restore it with `git checkout {path}`: it holds the earlier decisions"):
        decided: dict[str, Any] = files.read_json(path, {**form, "checks": dict})
        if decided["champion"]["variant"] is not None:
            files.read_json(path, {"champion": WITH_REASONS})
    return decided


def task_of(record: Mapping[str, Any]) -> Task:
    """Return the task that a record describes.

    Raises:
        InputError: a value of the description is not valid.
    """
    # records of champions from before the last three settings existed lack them
    keys = ("kind", "classes", "height", "width", "channels", "pixel_range", "transparent", "fit")
    described = {key: record[key] for key in keys if key in record}
    classes, background = record["classes"], record["background"]
    if background is not None:
        known = isinstance(classes, list) and type(background) is int and 0 <= background < len(classes)
        described["background"] = classes[background] if known else background  # otherwise `build` refuses it
    return tasks.of(record["task"], build(TaskSpec, described, "", RECORD))
