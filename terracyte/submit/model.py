"""Pictures in, labels out: what the challenge imports from the submitted zip.

It stands alone: it needs the model file beside it, TensorFlow, and what TensorFlow brings, but none of the
project that trained the model.
"""

from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

_BATCH = 64  # images per step; bounds the memory


class Model:
    """The trained network."""

    def __init__(self) -> None:
        """Load the file beside this one, whatever the working directory is."""
        path = Path(__file__).with_name("model.keras")
        self._network = keras.saving.load_model(path, compile=False, safe_mode=True)
        # XLA would compile the network anew for the last batch
        self._network.jit_compile = False

    def predict(self, X: NDArray[Any]) -> NDArray[np.int64]:  # noqa: N803  # the challenge's name
        """Classify images.

        Args:
            X: (n, h, w, c), 0-255, of any integer or float type.

        Returns:
            (n,) labels.
        """
        labels = np.zeros(len(X), np.int64)
        for start in range(0, len(X), _BATCH):
            images = np.asarray(X[start : start + _BATCH], np.float32)
            labels[start : start + _BATCH] = np.argmax(self._network.predict_on_batch(images), axis=-1)
        return labels
