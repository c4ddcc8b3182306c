"""The average of a network's weights over its training, which generalises better than the last ones."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

# Steps from one look at the weights to the next: a look costs about a fifth of a step on a processor, and the weights
# of neighbouring steps hardly differ.
_EVERY = 8


class WeightAverage(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """An exponential moving average of all weights, the statistics of normalisations among them.

    After each of the first eight steps n, and every eighth one from then on: average = d average + (1 - d) weights
    with d = min(decay, n / (9 + n)) to the power of the steps since the last time, so that the random weights of
    the beginning are soon forgotten. Weight averaging: arXiv 1803.05407.

    Args:
        model: whose weights; the average starts as they are.
        decay: d of the late steps, 0-1.

    Attributes:
        steps: n so far.
        weights: the average, in the order of `model.weights`.
    """

    def __init__(self, model: keras.Model, decay: float) -> None:
        super().__init__()
        self.averaged = model
        self.decay = decay
        self.steps = 0
        # copies: whether Keras gives its own memory away depends on the backend
        self.weights: list[NDArray[Any]] = [np.array(weights) for weights in model.get_weights()]

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Count a step, and take its weights in where it is time."""
        self.steps += 1
        since = _EVERY if self.steps > _EVERY else 1
        if self.steps % since:
            return
        gain = 1 - min(self.decay, self.steps / (9 + self.steps)) ** since
        # asked of `self.model`: on JAX that brings the variables up to date
        for average, weights in zip(self.weights, self.model.get_weights(), strict=True):
            # in place: the arrays may be large
            change = weights - average
            change *= gain
            average += change

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the model have the average for a while."""
        trained = self.averaged.get_weights()
        self.averaged.set_weights(self.weights)
        yield
        self.averaged.set_weights(trained)
