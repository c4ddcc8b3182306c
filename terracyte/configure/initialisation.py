"""What a variant's weights start from: what the fetch stage found, as later stages read it."""

import dataclasses
import shutil
from pathlib import Path

from terracyte.configure import tuned_values
from terracyte.configure.identity import Identity, data_hash, file_hash
from terracyte.core import files, paths
from terracyte.core.errors import InputError
from terracyte.params import Params

RANDOM = "random"
IMAGENET = "ImageNet"
NOT_TO_BE_HAD = "random (ImageNet not to be had)"

_LEGACY = ".h5"
_SUFFIXES = (".weights.h5", _LEGACY)  # by its name Keras knows how to read a file


@dataclasses.dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a variant starts.

    Attributes:
        initialisation: as tables show it: one of the constants above, or the name of the user's file.
        sha256: of the weights' file; "" for random weights.
    """

    initialisation: str
    sha256: str


def write(task: str, variant: str, initialisation: str, weights: Path | None = None) -> None:
    """Write `data/<task>/weights/<variant>`, with a copy of the pretrained weights where there are any."""
    with files.atomic_folder(paths.weights(task, variant)) as folder:
        if weights is not None:
            suffix = next((each for each in _SUFFIXES if weights.name.endswith(each)), _LEGACY)
            shutil.copyfile(weights, folder / f"backbone{suffix}")
        origin = Origin(initialisation=initialisation, sha256=file_hash(weights) if weights else "")
        files.write_json(folder / "origin.json", dataclasses.asdict(origin))


def read(task: str, variant: str) -> Origin:
    """What `write` has written.

    Raises:
        InputError: nothing was fetched yet.
    """
    path = paths.weights(task, variant) / "origin.json"
    if not path.exists():
        raise InputError(f"{path} is missing: run `dvc repro fetch@{variant}`")
    return Origin(**files.read_json(path))


def pretrained(task: str, variant: str) -> Path | None:
    """The file of pretrained weights; None where the variant starts from random ones."""
    return next(paths.weights(task, variant).glob("backbone*"), None)


def identities(settings: Params, name: str) -> tuple[Identity, ...]:
    """Who each seed's run of a variant is on the present data and weights, in the order of `params.seeds`.

    Raises:
        InputError: the variant is unknown, or nothing was tuned or fetched yet.
    """
    task = settings.variant(name).task
    config = settings.config(name, tuned_values.read(task))
    data, weights = data_hash(task), read(task, name).sha256
    return tuple(
        Identity(task=task, variant=name, seed=seed, config=config, data_hash=data, weights_hash=weights)
        for seed in settings.seeds
    )
