"""Offsets of the logits, chosen on the validation split.

A network that is trained with class weights, or with repeated images of a rare class, predicts the rare classes too
often. Adding one offset per class to its logits corrects that. arXiv 2007.07314 derives such offsets from class
frequencies; here they are those that maximise the validation score itself, such as the mean IoU.
"""

from collections.abc import Callable, Sequence

import keras
import numpy as np
from numpy.typing import NDArray

# Offsets that are tried for each class, and rounds over all classes. Finer ones would fit the split's noise.
_CANDIDATES = np.arange(-3, 3.01, 0.5)
_ROUNDS = 2
# Smallest gain in the score for which an offset is changed.
_MINIMUM_GAIN = 1e-4


def fit(score: Callable[[NDArray[np.float32]], float], classes: int, scored: Sequence[int]) -> NDArray[np.float32]:
    """Coordinate ascent: for one class after the other, the last one first, take the offset with the best score.

    Args:
        score: offsets (k,) → what to maximise.
        classes: k.
        scored: the classes that get an offset; the others keep 0.

    Returns:
        (k,) offsets in -3 to 3; of equally good ones those nearest to 0.
    """
    offsets = np.zeros(classes, np.float32)
    best = score(offsets)
    for k in [*reversed(scored)] * _ROUNDS:
        for candidate in sorted(_CANDIDATES, key=abs):
            tried = offsets.copy()
            tried[k] = candidate
            if (reached := score(tried)) > best + _MINIMUM_GAIN:
                best, offsets = reached, tried
    return offsets


def add(model: keras.Model, offsets: NDArray[np.float32]) -> None:
    """Add offsets to the bias of a network's last layer, `logits`, in place.

    Args:
        model: see `terracyte.models`.
        offsets: (k,); the bias may hold them for several pixels, k values for each.
    """
    kernel, bias = model.get_layer("logits").get_weights()
    model.get_layer("logits").set_weights([kernel, bias + np.tile(offsets, len(bias) // len(offsets))])
