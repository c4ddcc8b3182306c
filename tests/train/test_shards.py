"""Data parallelism without several devices: the processes' parts of batches, and refused backends."""

import numpy as np
import pytest

from terracyte.core.errors import InputError
from terracyte.train import data_parallel


def test_the_parts_of_all_processes_are_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = [(np.arange(6), np.arange(12).reshape(6, 2)), (np.arange(6, 10), np.arange(8).reshape(4, 2))]
    monkeypatch.setenv("KERAS_DISTRIBUTION_NUM_PROCESSES", "2")
    parts = []
    for rank in range(2):
        monkeypatch.setenv("KERAS_DISTRIBUTION_PROCESS_ID", str(rank))
        shard = data_parallel.Shard(batches)
        parts.append([shard[index] for index in range(len(shard))])
    for ours, theirs, batch in zip(*parts, batches, strict=True):
        for one, other, whole in zip(ours, theirs, batch, strict=True):
            assert len(one) == len(other)
            np.testing.assert_array_equal(np.concatenate([one, other]), whole)


def test_another_backend_is_refused() -> None:
    with (
        pytest.raises(InputError, match="on Keras' JAX backend only, and this is tensorflow"),
        data_parallel.distributed(4),
    ):
        pass
