"""A small residual network (arXiv 1512.03385), sized to be trained from scratch on a processor."""

import keras
from keras import layers

from terracyte.core.errors import InputError
from terracyte.models.blocks import convolution, kernel_regularizer, rescaled_input, residual
from terracyte.models.problem import Problem
from terracyte.params.variant import Config


def build(config: Config, problem: Problem) -> keras.Model:
    """A stem that quarters the resolution, then `depth` residual stages; stage i has `width * 2**i` filters.

    Each stage but the first halves the resolution.

    Args:
        config: `width`, `depth`, `squeeze_excite`, `standardize`, `input_dropout`, `dropout` (before the head), `l1`
            and `l2` matter.
        problem: with labels.

    Returns:
        Images (b, h, w, c), 0-255 → logits (b, k).

    Raises:
        InputError: the task has masks.
    """
    if problem.dense:
        raise InputError("params.yaml: 'architecture: cnn' needs a task with labels; choose unet")
    filters = [config.width * 2**stage for stage in range(config.depth)]

    # Stem: quarters the resolution at once, because layers at full resolution cost the most
    images, x = rescaled_input(problem.image_shape, config.input_dropout, config.standardize)
    x = convolution(x, filters[0] // 2, config, "stem_1", stride=2)
    x = convolution(x, filters[0], config, "stem_2")
    x = layers.MaxPooling2D(3, strides=2, padding="same", name="stem_pooling")(x)

    # Stages
    for stage, width in enumerate(filters):
        x = residual(x, width, config, f"stage_{stage}", stride=1 if stage == 0 else 2)

    # Head
    x = layers.GlobalAveragePooling2D(name="pooling")(x)
    x = layers.Dropout(config.dropout, name="dropout")(x)
    regularizer = kernel_regularizer(config)
    logits = layers.Dense(problem.classes, kernel_regularizer=regularizer, dtype="float32", name="logits")(x)
    return keras.Model(images, logits, name="cnn")
