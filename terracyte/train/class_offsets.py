"""Offsets of the logits, chosen on the validation split.

Class weights and repeated images of a rare class teach a network to see that class, and to see it too often. What
it should answer is decided afterwards: one number per class is added to the logits (arXiv 2007.07314 derives such
numbers from class frequencies; here the score itself chooses them, as it need not be that of a likelihood).
"""

from collections.abc import Callable, Sequence

import keras
import numpy as np
from numpy.typing import NDArray

# Offsets that are tried, and how often all classes are gone through. Finer ones would fit the split's noise.
_STEPS = np.arange(-3, 3.01, 0.5)
_ROUNDS = 2
# A gain in the score below this is none.
_GAIN = 1e-4


def fit(score: Callable[[NDArray[np.float32]], float], classes: int, scored: Sequence[int]) -> NDArray[np.float32]:
    """Go through the classes, the last one first, and keep the offset with the best score; coordinate ascent.

    Args:
        score: offsets (k,) → what to maximise.
        classes: k.
        scored: the classes that get an offset; the others keep 0.

    Returns:
        (k,) offsets, the nearest to 0 of equally good ones; zeros where none is better than nothing.
    """
    offsets = np.zeros(classes, np.float32)
    best = score(offsets)
    for k in [*reversed(scored)] * _ROUNDS:
        for step in sorted(_STEPS, key=abs):
            tried = offsets.copy()
            tried[k] = step
            if (reached := score(tried)) > best + _GAIN:
                best, offsets = reached, tried
    return offsets


def add(model: keras.Model, offsets: NDArray[np.float32]) -> None:
    """Add offsets to the bias of a network's last layer, `logits`, in place.

    Args:
        model: see `terracyte.models`.
        offsets: (k,); a layer that gives the logits of several pixels at once has them class by class.
    """
    kernel, bias = model.get_layer("logits").get_weights()
    model.get_layer("logits").set_weights([kernel, bias + np.tile(offsets, len(bias) // len(offsets))])
