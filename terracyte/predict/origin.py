"""Which champion is used, and where it comes from: a model is loaded only if its hash is known beforehand."""

from pathlib import Path

from terracyte import params
from terracyte.core import paths
from terracyte.core.errors import InputError
from terracyte.core.hashing import file_hash
from terracyte.params import lock
from terracyte.promote.champion import MODEL, RECORD, read_record


def champion_of(task: str, experiment: Path, model: Path | None, sha256: str | None) -> Path:
    """The folder of the champion that is used, after the checks which need no network.

    Args:
        task: whose.
        experiment: its champion is used where no other is asked for.
        model: the folder that the user asks for; None for the experiment's.
        sha256: see `check`.

    Raises:
        InputError: the experiment has no such task, there is no champion, or it is refused by `check`.
    """
    folder = model or experiment / paths.champion(task)
    if model is None and not (folder / RECORD).exists():
        params.load(experiment).rows_of(task)  # a misspelt name is told before a champion is missed
        if folder.exists() and not any(folder.iterdir()):  # as `promote` leaves it
            why = f"'against' in {experiment / paths.promotion(task)} says why the best row was refused"
            raise InputError(f"{task} has no champion: {why}; train a better one, or name a folder with --model")
    read_record(folder, task)
    check(folder, sha256)
    return folder


def check(folder: Path, sha256: str | None) -> None:
    """Refuse a champion that git does not vouch for, unless the user does.

    Args:
        folder: of the champion; in its experiment it must be the one that dvc.lock has recorded.
        sha256: of the model, as the user knows it; None where the lock is to know it.

    Raises:
        InputError: the folder is another one than recorded, or no lock knows it, or the model has another hash.
    """
    if sha256 is None and lock.check(folder):
        return
    model = folder / MODEL
    found = file_hash(model) if model.is_file() else "missing"
    if sha256 is None:
        raise InputError(
            f"{folder} is no output that a dvc.lock knows (SHA-256 of its {MODEL}: {found}): if it comes from "
            f"somebody whom you trust, give --sha256 as they tell it"
        )
    if sha256.lower() != found:
        raise InputError(f"{model} has not the SHA-256 that --sha256 gives, but {found}: get the model again")
