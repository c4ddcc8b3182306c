"""The trivial baseline: predicts the class shares of the training images for every image."""

import keras
import numpy as np
from keras import layers

from terracyte.models.blocks import rescaled_input
from terracyte.models.problem import Problem
from terracyte.params.variant import Config

# A lower bound keeps the logit of a class that never occurs finite.
_SMALLEST_SHARE = 1e-7


def build(config: Config, problem: Problem) -> keras.Model:
    """A model without trainable weights whose logits are log(class share), the best constant there is.

    Args:
        config: not used.
        problem: `class_shares` are the prediction.

    Returns:
        Images (b, h, w, c), 0-255 → logits (b, k), or (b, h, w, k) where dense.
    """
    images, x = rescaled_input(problem.image_shape)
    if not problem.dense:
        x = layers.GlobalAveragePooling2D(keepdims=True, name="pooling")(x)
    constant = layers.Conv2D(problem.classes, 1, trainable=False, dtype="float32", name="logits")
    logits = constant(x)
    kernel, _ = constant.get_weights()
    shares = np.maximum(np.array(problem.class_shares), _SMALLEST_SHARE)
    constant.set_weights([np.zeros_like(kernel), np.log(shares)])
    if not problem.dense:
        logits = layers.Flatten(dtype="float32", name="flatten")(logits)
    return keras.Model(images, logits, name="majority")
