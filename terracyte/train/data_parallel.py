"""One training on several devices, of one machine or of several: Keras' data parallelism on its JAX backend.

Each batch is shared out among all devices of all processes; every device has all weights, and the gradients are those
of the whole batch. So the network is the one that a single device would have trained, but for rounding. Processes are
Keras' own matter: `KERAS_DISTRIBUTION_JOB_ADDRESSES` (HOST:PORT of the first one), `KERAS_DISTRIBUTION_NUM_PROCESSES`
and `KERAS_DISTRIBUTION_PROCESS_ID` (from 0 on) say who takes part. They work in one folder, which only the first one
writes to.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from terracyte.core.errors import InputError

_PROCESSES, _NUMBER = "KERAS_DISTRIBUTION_NUM_PROCESSES", "KERAS_DISTRIBUTION_PROCESS_ID"


def join() -> None:
    """Meet the other processes, where there are any; before anything is computed.

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
    """How many train together."""
    return int(os.environ.get(_PROCESSES) or 1)


def number() -> int:
    """Of this process, from 0 on; 0 is the one that writes."""
    return int(os.environ.get(_NUMBER) or 0) if processes() > 1 else 0


@contextmanager
def over_devices(batch_size: int) -> Iterator[None]:
    """Let networks that are built and trained in the block share out each batch among all devices.

    Raises:
        InputError: the backend is another than JAX, or the batch cannot be shared out evenly.
    """
    _require_jax()
    devices = len(keras.distribution.list_devices())
    if batch_size % devices:
        raise InputError(f"params.yaml: a batch of {batch_size} images cannot be shared by {devices} devices evenly")
    with keras.distribution.DataParallel(auto_shard_dataset=False).scope():
        yield


@contextmanager
def alone(model: keras.Model) -> Iterator[keras.Model]:
    """The network as this process can use it by itself, for batches of any size.

    Within `over_devices` that is a copy: each process validates the whole split, and comes to the same scores.
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


class Share(keras.utils.PyDataset):  # type: ignore[misc]  # Keras ships no types
    """The part of each batch that this process feeds to its devices.

    Every process prepares the whole batch, since images are mixed with others of their batch.

    Args:
        batches: a PyDataset of tuples of arrays with the same first axis, which the number of processes divides.
    """

    def __init__(self, batches: Any) -> None:
        super().__init__()
        self.batches = batches

    def __len__(self) -> int:
        """Batches of the epoch."""
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """The batch's part, in the order of the processes."""
        batch = self.batches[index]
        size = len(batch[0]) // processes()
        return tuple(array[number() * size : (number() + 1) * size] for array in batch)


def _require_jax() -> None:
    if keras.backend.backend() != "jax":
        raise InputError(
            f"several devices train together on Keras' JAX backend only, and this is {keras.backend.backend()}: pip"
            " install -e '.[jax]' and set KERAS_BACKEND=jax, or compute.data_parallel to false"
        )
