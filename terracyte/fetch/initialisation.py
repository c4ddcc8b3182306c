"""What a variant's weights start from: `fetch` writes it, `configure` reads it."""

import dataclasses
import shutil
from pathlib import Path

from terracyte.core import files, paths
from terracyte.core.hashing import file_hash
from terracyte.params.schema import build


@dataclasses.dataclass(frozen=True, kw_only=True)
class Initialisation:
    """What the weights of one of a variant's members start from.

    Attributes:
        name: what tables show: a constant of `params.row`, or the name of the user's file.
        sha256: SHA-256 of the weights' file; "" for random weights.
    """

    name: str
    sha256: str


def write(folder: Path, name: str, weights: Path | None = None) -> None:
    """Make a member's folder with `initialisation.json` and a copy of the pretrained weights, if there are any."""
    folder.mkdir(parents=True)
    if weights is not None:
        suffix = ".weights.h5" if weights.name.endswith(".weights.h5") else ".h5"  # Keras chooses its reader by it
        shutil.copyfile(weights, folder / f"backbone{suffix}")
    found = Initialisation(name=name, sha256=file_hash(weights) if weights else "")
    files.write_json(folder / "initialisation.json", dataclasses.asdict(found))


def read(variant: str, member: int = 0) -> Initialisation:
    """Read what `write` has written.

    Raises:
        InputError: nothing was fetched yet.
    """
    path = paths.pretrained(variant, member) / "initialisation.json"
    with files.advising("run `dvc repro fetch`"):
        return build(Initialisation, files.read_json(path), "", str(path))
