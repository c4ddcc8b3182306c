"""One training on several devices, of one machine or of several: Keras' data parallelism on its JAX backend.

Each batch is split among all devices of all processes; every device holds all weights, and the gradients are those of
the whole batch. So the trained network is that of a single device, except for rounding. Processes are configured by
Keras' own variables `KERAS_DISTRIBUTION_JOB_ADDRESSES` (HOST:PORT of the first process),
`KERAS_DISTRIBUTION_NUM_PROCESSES` and `KERAS_DISTRIBUTION_PROCESS_ID` (from 0 on). They share one folder, to which only
the first process writes.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from terracyte.core.errors import InputError

_PROCESSES, _RANK = "KERAS_DISTRIBUTION_NUM_PROCESSES", "KERAS_DISTRIBUTION_PROCESS_ID"


def join() -> None:
    """Connect to the other processes, if any; call it before anything is computed.

    Raises:
        InputError: the backend is another, or the processes do not come together.
    """
    if processes() == 1:
        return
    _require_jax()
    try:
        keras.distribution.initialize()
    except (RuntimeError, ValueError) as error:
        message = " ".join(str(error).split())[:200]
        raise InputError(f"the {processes()} processes of {_PROCESSES} did not come together: {message}") from error


def processes() -> int:
    """Number of processes that train together."""
    return int(os.environ.get(_PROCESSES) or 1)


def rank() -> int:
    """Number of this process, from 0 on; process 0 is the one that writes."""
    return int(os.environ.get(_RANK) or 0) if processes() > 1 else 0


@contextmanager
def distributed(batch_size: int) -> Iterator[None]:
    """Make networks that are built and trained in the block split each batch among all devices.

    Args:
        batch_size: images per batch, of all processes together.

    Raises:
        InputError: the backend is not JAX, or the batch cannot be split evenly.
    """
    _require_jax()
    devices = len(keras.distribution.list_devices())
    if batch_size % devices:
        raise InputError(f"params.yaml: a batch of {batch_size} images cannot be shared by {devices} devices evenly")
    with keras.distribution.DataParallel(auto_shard_dataset=False).scope():
        yield


@contextmanager
def undistributed(model: keras.Model) -> Iterator[keras.Model]:
    """The network for use by this process alone, with batches of any size.

    Within `distributed` that is a copy: each process validates the whole split, and gets the same scores.
    """
    distribution = keras.distribution.distribution()
    if distribution is None:
        yield model
        return
    keras.distribution.set_distribution(None)
    try:
        copy = keras.models.clone_model(model)
        copy.set_weights(model.get_weights())
        yield copy
    finally:
        keras.distribution.set_distribution(distribution)


class Shard(keras.utils.PyDataset):  # type: ignore[misc]  # Keras ships no types
    """This process's part of each batch.

    Every process prepares the whole batch, because augmentations such as CutMix mix the images of a batch.

    Args:
        batches: a PyDataset of tuples of arrays with the same first axis, which the number of processes divides.
    """

    def __init__(self, batches: Any) -> None:
        super().__init__()
        self.batches = batches

    def __len__(self) -> int:
        """Number of batches in the epoch."""
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """The part of a batch, in the order of the processes."""
        batch = self.batches[index]
        size = len(batch[0]) // processes()
        return tuple(array[rank() * size : (rank() + 1) * size] for array in batch)


def _require_jax() -> None:
    if keras.backend.backend() != "jax":
        raise InputError(
            f"several devices train together on Keras' JAX backend only, and this is {keras.backend.backend()}: pip"
            " install -e '.[jax]' and set KERAS_BACKEND=jax, or compute.data_parallel to false"
        )
