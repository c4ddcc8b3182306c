"""Progress of an unfinished training on disk, so that a killed one goes on as if nothing had happened."""

import dataclasses
import shutil
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from terracyte import paths
from terracyte.errors import InputError
from terracyte.files import atomic_folder, read_json, write_json
from terracyte.identity import Identity

Epoch = dict[str, float]


@dataclasses.dataclass
class Progress:
    """What a training has come to.

    Attributes:
        history: one mapping of names to values per finished epoch.
        best_epoch: the epoch (from 1) that validated best; 0 before the first.
        best_weights: the model's weights after it, in the order of `model.get_weights()`.
    """

    history: list[Epoch] = dataclasses.field(default_factory=list)
    best_epoch: int = 0
    best_weights: list[NDArray[Any]] = dataclasses.field(default_factory=list)


def folder(identity: Identity) -> Path:
    """Where the progress of one training lies."""
    return paths.CHECKPOINTS / identity.fingerprint


def write(place: Path, model: keras.Model, progress: Progress) -> None:
    """Keep the state after an epoch; a kill at any moment leaves this epoch or the one before.

    The state is all that the next epochs depend on: weights, the optimizer's moments and step count, and the
    state of the layers' random seeds.

    Args:
        place: one sub-folder `epoch_<n>` per kept epoch; older ones are removed.
        model: compiled.
        progress: up to and with this epoch.
    """
    newest = place / f"epoch_{len(progress.history):05d}"
    with atomic_folder(newest) as temporary:
        np.savez(temporary / "state.npz", *(ops.convert_to_numpy(v) for v in _variables(model)))
        np.savez(temporary / "best_weights.npz", *progress.best_weights)
        summary = {"history": progress.history, "best_epoch": progress.best_epoch}
        write_json(temporary / "progress.json", summary)
    for kept in place.iterdir():
        if kept != newest:
            shutil.rmtree(kept)


def restore(place: Path, model: keras.Model) -> Progress:
    """Put `model` (compiled) into the newest kept state; nothing happens where none is kept.

    Raises:
        InputError: the checkpoint is damaged, or belongs to another version of the code.
    """
    kept = sorted(place.glob("epoch_*"))
    if not kept:
        return Progress()
    try:
        state = _arrays(kept[-1] / "state.npz")
        for variable, value in zip(_variables(model), state, strict=True):
            variable.assign(value)
        summary = read_json(kept[-1] / "progress.json")
        best_weights = _arrays(kept[-1] / "best_weights.npz")
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        advice = "remove the folder to train from the start"
        raise InputError(f"{kept[-1]} is damaged, or was written by other code: {advice}") from error
    return Progress(summary["history"], summary["best_epoch"], best_weights)


def _variables(model: keras.Model) -> list[Any]:
    # the list includes the seeds of dropout layers
    return [*model.variables, *model.optimizer.variables]


def _arrays(path: Path) -> list[NDArray[Any]]:
    with np.load(path, allow_pickle=False) as archive:
        return [archive[name] for name in archive.files]
