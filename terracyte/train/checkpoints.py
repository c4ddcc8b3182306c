"""Checkpoints: the state of an unfinished training on disk, so that a killed one resumes with the same result."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from terracyte.core import paths
from terracyte.core.errors import InputError
from terracyte.core.files import atomic_folder, read_arrays, read_json, write_json
from terracyte.params.row import Identity
from terracyte.train.weight_averaging import WeightAverage

Epoch = dict[str, float]

# The fields of `Progress` that go into JSON; the others are arrays.
_SUMMARY = ("history", "best_epoch", "seconds")


@dataclasses.dataclass
class Progress:
    """The finished epochs of a training, and its best weights so far.

    Attributes:
        history: the values of each finished epoch by name.
        best_epoch: the epoch (from 1) with the best validation score; 0 before the first.
        best_weights: the model's weights after it, in the order of `model.get_weights()`.
        seconds: duration of the finished epochs.
    """

    history: list[Epoch] = dataclasses.field(default_factory=list)
    best_epoch: int = 0
    best_weights: list[NDArray[Any]] = dataclasses.field(default_factory=list)
    seconds: float = 0.0

    def add(self, values: Epoch, selection: str, model: keras.Model) -> None:
        """Add an epoch; it becomes the best one where its `values[selection]` exceeds that of all before it."""
        if not self.history or values[selection] > self.history[self.best_epoch - 1][selection]:
            self.best_epoch, self.best_weights = len(self.history) + 1, model.get_weights()
        self.history.append(values)


def folder(identity: Identity) -> Path:
    """The folder of one training. Variants of equal configuration (and fingerprint) may be trained at the same time."""
    return paths.CHECKPOINTS / f"{identity.variant}-{identity.fingerprint}"


def write(directory: Path, model: keras.Model, average: WeightAverage | None, progress: Progress) -> None:
    """Write the state after an epoch; a kill at any moment leaves this state or the one before.

    The state is all that the next epochs depend on: weights, the optimizer's moments and step count, the
    state of the layers' random seeds, and the average of the weights.

    Args:
        directory: of the training; the state becomes its only sub-folder, `epoch_<n>`.
        model: compiled.
        average: of its weights; None for none.
        progress: this epoch included.
    """
    newest = directory / f"epoch_{len(progress.history):05d}"
    with atomic_folder(newest) as temporary:
        np.savez(temporary / "state.npz", *(ops.convert_to_numpy(v) for v in _variables(model)))
        np.savez(temporary / "best_weights.npz", *progress.best_weights)
        if average is not None:
            np.savez(temporary / "average.npz", np.array(average.steps), *average.weights)
        summary = {name: getattr(progress, name) for name in _SUMMARY}
        write_json(temporary / "progress.json", summary)
    for state in directory.iterdir():
        if state != newest:
            shutil.rmtree(state)


def finished_epochs(directory: Path) -> int:
    """The epoch of the newest state, 0 where there is none."""
    return max((int(state.name.removeprefix("epoch_")) for state in directory.glob("epoch_*")), default=0)


def restore(directory: Path, model: keras.Model, average: WeightAverage | None) -> Progress:
    """Set `model` (compiled) and `average` to the newest state; where there is none, they stay as they are.

    Returns:
        The progress up to that state; empty where there is none.

    Raises:
        InputError: the checkpoint is damaged, or belongs to another version of the code.
    """
    states = sorted(directory.glob("epoch_*"))
    if not states:
        return Progress()
    newest = states[-1]
    try:
        for variable, value in zip(_variables(model), _arrays(newest / "state.npz"), strict=True):
            variable.assign(value)
        if average is not None:
            steps, *average.weights = _arrays(newest / "average.npz")
            average.steps = int(steps)
        summary = read_json(newest / "progress.json")
        return Progress(best_weights=_arrays(newest / "best_weights.npz"), **summary)
    except (InputError, OSError, ValueError, KeyError, TypeError) as error:
        advice = "remove the folder to train from the start"
        raise InputError(f"{newest} is damaged, or was written by other code: {advice}") from error


def _variables(model: keras.Model) -> list[Any]:
    # the model's include the seeds of dropout layers
    return [*model.variables, *model.optimizer.variables]


def _arrays(path: Path) -> list[NDArray[Any]]:
    return list(read_arrays(path).values())
