"""Chooses the champion to use, and checks its origin: a model is loaded only if its hash is known beforehand."""

from pathlib import Path

from terracyte import params
from terracyte.core import paths
from terracyte.core.errors import InputError
from terracyte.core.hashing import file_hash
from terracyte.params import lock
from terracyte.promote.champion import MODEL, RECORD, read_record


def champion_of(task: str, experiment: Path, model: Path | None, sha256: str | None) -> Path:
    """Return the folder of the champion to use, after the checks that do not load its model.

    Args:
        task: the name of the champion's task.
        experiment: the experiment's folder, whose champion is used if `model` is None.
        model: the champion's folder that the user asks for; None for the experiment's.
        sha256: see `check`.

    Raises:
        InputError: the experiment has no such task, there is no champion, or `check` refuses it.
    """
    folder = model or experiment / paths.champion(task)
    if model is None and not (folder / RECORD).exists():
        params.load(experiment).rows_of(task)  # reports a misspelt task before a missing champion
        if folder.exists() and not any(folder.iterdir()):  # `promote` leaves an empty folder
            why = f"'against' in {experiment / paths.promotion(task)} says why the best row was refused"
            raise InputError(f"{task} has no champion: {why}; train a better one, or name a folder with --model")
    read_record(folder, task, experiment)
    check(folder, sha256)
    return folder


def check(folder: Path, sha256: str | None) -> None:
    """Refuse a champion, unless dvc.lock or the user vouches for its hash.

    Args:
        folder: the champion's folder; without `sha256`, it must be as its experiment's dvc.lock has recorded it.
        sha256: the SHA-256 of `model.keras` that the user gives; None to rely on dvc.lock.

    Raises:
        InputError: the folder differs from dvc.lock's record, no dvc.lock knows it, or the model has another hash.
    """
    if sha256 is None and lock.check(folder):
        return
    model = folder / MODEL
    found = file_hash(model) if model.is_file() else "missing"
    if sha256 is None:
        raise InputError(
            f"{folder} is not recorded in any dvc.lock (SHA-256 of its {MODEL}: {found}): if you trust whoever "
            "made it, pass --sha256 with the hash that they tell you"
        )
    if sha256.lower() != found:
        raise InputError(f"the SHA-256 of {model} is not the one given with --sha256, but {found}: get the model again")
