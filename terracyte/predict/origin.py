"""Where a champion comes from: a model is loaded only if its hash is known beforehand."""

from pathlib import Path

from terracyte.core.errors import InputError
from terracyte.core.hashing import file_hash
from terracyte.params import lock
from terracyte.promote.champion import MODEL


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
