"""Weight averaging (arXiv 1803.05407): the mean of the weights over the last steps generalises better than the last."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

# Steps between updates of the average: an update costs about a fifth of a step on a processor, and the weights of
# neighbouring steps hardly differ.
_INTERVAL = 8


class WeightAverage(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """An exponential moving average of all weights, including the statistics of normalisations.

    It is updated after each of the first eight steps n, and after every eighth step from then on: average = d average
    + (1 - d) weights with d = min(decay, n / (9 + n)) to the power of the steps since the last update. So the random
    initial weights soon lose their influence.

    Args:
        model: whose weights are averaged; the average starts with its present ones.
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
        """Count a step, and update the average where it is due."""
        self.steps += 1
        interval = _INTERVAL if self.steps > _INTERVAL else 1
        if self.steps % interval:
            return
        gain = 1 - min(self.decay, self.steps / (9 + self.steps)) ** interval
        # `self.model`, not `self.averaged`: on JAX its get_weights first brings the variables up to date
        for average, weights in zip(self.weights, self.model.get_weights(), strict=True):
            # in place: the arrays may be large
            change = weights - average
            change *= gain
            average += change

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the model the averaged weights within the block."""
        trained = self.averaged.get_weights()
        self.averaged.set_weights(self.weights)
        yield
        self.averaged.set_weights(trained)
