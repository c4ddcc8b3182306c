"""Batch normalisation by a fused kernel of TensorFlow, while a network is trained."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import keras
from keras import layers

_fusing = ContextVar("_fusing", default=False)


@contextmanager
def fusing() -> Iterator[None]:
    """Make networks that are built in the block normalise batches by a fused kernel, on TensorFlow's backend.

    Keras' own layer takes a dozen passes over the features for a step, the kernel two or three: 6 % of a U-Net's step
    (docs/benchmarks.md). The kernel's running variance divides by n - 1 where Keras divides by n. A network that is
    built outside the block consists of Keras' own layers, and can take over the weights.
    """
    token = _fusing.set(keras.backend.backend() == "tensorflow")
    try:
        yield
    finally:
        _fusing.reset(token)


def normalisation(momentum: float, name: str) -> keras.Layer:
    """Batch normalisation (arXiv 1502.03167) of the last axis, over batch and pixels."""
    return (_FusedNormalisation if _fusing.get() else layers.BatchNormalization)(momentum=momentum, name=name)


class _FusedNormalisation(layers.BatchNormalization):  # type: ignore[misc]  # Keras ships no types
    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if not (training and self.trainable and inputs.dtype == self.variable_dtype):
            return super().call(inputs, training=training, mask=mask)
        import tensorflow

        outputs, mean, variance, *_ = tensorflow.compat.v1.nn.fused_batch_norm(
            inputs, self.gamma, self.beta, epsilon=self.epsilon, is_training=True
        )
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + batch * (1 - self.momentum))
        return outputs
