"""The arithmetic of a training: single precision throughout, or half of it where that is faster."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import keras

Precision = Literal["float32", "bfloat16"]

# Keras' name for: computed in bfloat16, with weights, their gradients' sums and the logits in single precision.
_POLICIES: dict[Precision, str] = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


# What Linux tells of the processor, and its word there for units that multiply matrices of bfloat16.
_PROCESSOR, _UNITS = Path("/proc/cpuinfo"), "amx_bf16"


@contextmanager
def arithmetic(precision: Precision) -> Iterator[None]:
    """Let networks that are built in the block compute in `precision`, with weights in float32 (arXiv 1710.03740).

    A network built outside takes over the weights of one that was built inside, and computes in single precision.
    bfloat16 has the range of float32, so that no loss has to be scaled.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(_POLICIES[precision])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def is_slow_here(precision: Precision) -> bool:
    """Whether this machine has to imitate the arithmetic, at several times the cost of float32; False where unknown."""
    if precision == "float32" or keras.distribution.list_devices("gpu") or not _PROCESSOR.exists():
        return False
    return _UNITS not in _PROCESSOR.read_text().split()
