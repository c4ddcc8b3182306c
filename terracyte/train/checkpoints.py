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

from terracyte.core import paths
from terracyte.core.errors import InputError
from terracyte.core.files import atomic_folder, read_json, write_json
from terracyte.params.row import Identity
from terracyte.train.weight_averaging import WeightAverage

Epoch = dict[str, float]

# What of `Progress` is no array.
_SUMMARY = ("history", "best_epoch", "seconds")


@dataclasses.dataclass
class Progress:
    """What a training has come to.

    Attributes:
        history: one mapping of names to values per finished epoch.
        best_epoch: the epoch (from 1) that validated best; 0 before the first.
        best_weights: the model's weights after it, in the order of `model.get_weights()`.
        seconds: that the finished epochs took.
    """

    history: list[Epoch] = dataclasses.field(default_factory=list)
    best_epoch: int = 0
    best_weights: list[NDArray[Any]] = dataclasses.field(default_factory=list)
    seconds: float = 0.0

    def add(self, values: Epoch, selection: str, model: keras.Model) -> None:
        """Take in one more epoch; the first of equals in `values[selection]` stays the best."""
        if not self.history or values[selection] > self.history[self.best_epoch - 1][selection]:
            self.best_epoch, self.best_weights = len(self.history) + 1, model.get_weights()
        self.history.append(values)


def folder(identity: Identity) -> Path:
    """Where the progress of one training lies; variants of one configuration may be trained at the same time."""
    return paths.CHECKPOINTS / f"{identity.variant}-{identity.fingerprint}"


def write(place: Path, model: keras.Model, average: WeightAverage | None, progress: Progress) -> None:
    """Keep the state after an epoch; a kill at any moment leaves this epoch or the one before.

    The state is all that the next epochs depend on: weights, the optimizer's moments and step count, the
    state of the layers' random seeds, and the average of the weights.

    Args:
        place: one sub-folder `epoch_<n>` per kept epoch; older ones are removed.
        model: compiled.
        average: of its weights; None for none.
        progress: up to and with this epoch.
    """
    newest = place / f"epoch_{len(progress.history):05d}"
    with atomic_folder(newest) as temporary:
        np.savez(temporary / "state.npz", *(ops.convert_to_numpy(v) for v in _variables(model)))
        np.savez(temporary / "best_weights.npz", *progress.best_weights)
        if average is not None:
            np.savez(temporary / "average.npz", np.array(average.steps), *average.weights)
        summary = {name: getattr(progress, name) for name in _SUMMARY}
        write_json(temporary / "progress.json", summary)
    for kept in place.iterdir():
        if kept != newest:
            shutil.rmtree(kept)


def finished_epochs(place: Path) -> int:
    """Epochs of the newest kept state, 0 where none is kept."""
    return max((int(kept.name.removeprefix("epoch_")) for kept in place.glob("epoch_*")), default=0)


def restore(place: Path, model: keras.Model, average: WeightAverage | None) -> Progress:
    """Put `model` (compiled) and `average` into the newest kept state; nothing happens where none is kept.

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
        if average is not None:
            steps, *average.weights = _arrays(kept[-1] / "average.npz")
            average.steps = int(steps)
        summary = read_json(kept[-1] / "progress.json")
        return Progress(best_weights=_arrays(kept[-1] / "best_weights.npz"), **summary)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        advice = "remove the folder to train from the start"
        raise InputError(f"{kept[-1]} is damaged, or was written by other code: {advice}") from error


def _variables(model: keras.Model) -> list[Any]:
    # the list includes the seeds of dropout layers
    return [*model.variables, *model.optimizer.variables]


def _arrays(path: Path) -> list[NDArray[Any]]:
    with np.load(path, allow_pickle=False) as archive:
        return [archive[name] for name in archive.files]
