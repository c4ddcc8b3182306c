"""What a variant's weights start from: what `fetch` found, as `configure` reads it."""

import dataclasses
import shutil
from pathlib import Path

from terracyte.core import files, paths
from terracyte.core.hashing import file_hash
from terracyte.params.schema import build


@dataclasses.dataclass(frozen=True, kw_only=True)
class Initialisation:
    """Where a variant starts.

    Attributes:
        name: as tables show it: see `params.row`, or the name of the user's file.
        sha256: of the weights' file; "" for random weights.
    """

    name: str
    sha256: str


def write(folder: Path, name: str, weights: Path | None = None) -> None:
    """Fill a variant's folder, with a copy of the pretrained weights where there are any."""
    folder.mkdir(parents=True)
    if weights is not None:
        suffix = ".weights.h5" if weights.name.endswith(".weights.h5") else ".h5"  # by it Keras knows how to read it
        shutil.copyfile(weights, folder / f"backbone{suffix}")
    found = Initialisation(name=name, sha256=file_hash(weights) if weights else "")
    files.write_json(folder / "initialisation.json", dataclasses.asdict(found))


def read(variant: str, member: int = 0) -> Initialisation:
    """What `write` has written.

    Raises:
        InputError: nothing was fetched yet.
    """
    path = paths.pretrained(variant, member) / "initialisation.json"
    with files.advising("run `dvc repro fetch`"):
        return build(Initialisation, files.read_json(path), "", str(path))
