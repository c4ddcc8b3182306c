"""The arithmetic of a training: single precision, or mixed precision (arXiv 1710.03740) where that is faster."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import keras

Precision = Literal["float32", "bfloat16"]

# Keras' names. mixed_bfloat16 computes in bfloat16 and keeps the weights in float32.
_POLICIES: dict[Precision, str] = {"float32": "float32", "bfloat16": "mixed_bfloat16"}

_CPU_INFO = Path("/proc/cpuinfo")  # on Linux
_BFLOAT16_FLAG = "amx_bf16"  # of processors with units that multiply matrices of bfloat16


@contextmanager
def computing_in(precision: Precision) -> Iterator[None]:
    """Make networks that are built in the block compute in `precision`; their weights are float32 in any case.

    So a network that is built outside the block can take over their weights, and computes in single precision.
    bfloat16 has the range of float32, therefore the loss needs no scaling.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(_POLICIES[precision])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def is_slow_here(precision: Precision) -> bool:
    """Whether this machine emulates `precision` at several times the cost of float32; False where unknown."""
    # all devices are listed, because JAX raises where it is asked for GPUs and has none
    has_gpu = any("gpu" in device for device in keras.distribution.list_devices())
    if precision == "float32" or has_gpu or not _CPU_INFO.exists():
        return False
    return _BFLOAT16_FLAG not in _CPU_INFO.read_text().split()
