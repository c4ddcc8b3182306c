"""Random seeds and deterministic kernels, and predictions batch by batch."""

from collections.abc import Iterator

import keras
import numpy as np
from numpy.typing import NDArray


def make_repeatable(seed: int) -> None:
    """Seed all random numbers of Keras, and use kernels that give the same result each time."""
    # also restarts the numbering of layers, whose names go into the saved model
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        # Keras has no switch of its own for this; other backends are repeatable on a processor anyway
        tensorflow.config.experimental.enable_op_determinism()


def predict(
    model: keras.Model, images: NDArray[np.uint8], ids: NDArray[np.int64], batch_size: int
) -> Iterator[NDArray[np.float32]]:
    """Logits of chosen images, batch by batch, so that neither all images nor all logits are in memory at once.

    Args:
        model: see `terracyte.models`.
        images: (N, h, w, c) uint8, memory-mapped.
        ids: (n,) indices into `images`, in the order of the result.
        batch_size: images per step; the last batch may hold fewer.

    Yields:
        (b, k) or (b, h, w, k) float32.
    """
    size = min(batch_size, len(ids))
    for start in range(0, len(ids), batch_size):
        yield logits(model, images[ids[start : start + batch_size]], size)


def logits(model: keras.Model, images: NDArray[np.uint8], batch_size: int) -> NDArray[np.float32]:
    """Logits of up to `batch_size` images (b, h, w, c), see `predict`.

    Fewer are filled up with black ones: a batch of another length would be traced anew, which takes seconds.
    """
    # XLA would compile the network anew for the last batch
    model.jit_compile = False
    filled = np.zeros((batch_size, *images.shape[1:]), np.float32)
    filled[: len(images)] = images
    return np.asarray(model.predict_on_batch(filled))[: len(images)]
