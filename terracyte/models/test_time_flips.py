"""Test-time flips: one model that averages a network over the mirror images of its input."""

from typing import Literal

import keras
from keras import layers, ops

# Axes of images (b, h, w, c) and of logits (b, h, w, k).
_HEIGHT, _WIDTH = 1, 2


def averaged(model: keras.Model, flip: Literal["none", "horizontal", "both"]) -> keras.Model:
    """A model whose logits are the mean of `model`'s over the mirror images of an image, each mirrored back.

    Logits are averaged, not probabilities (that is, the geometric mean of the probabilities up to a factor),
    so that the result is a model like any other. It holds `model` as a layer and shares its weights.

    Args:
        model: images (b, h, w, c) → logits (b, k) or (b, h, w, k).
        flip: none: `model` itself; horizontal: the image and its mirror image, 2 passes; both: all 8
            symmetries of a square image with a label, else the 4 that keep height and width.

    Returns:
        A model of the same input and output, of Keras' own serialisable operations.
    """
    if flip == "none":
        return model
    dense = len(model.output_shape) == len(model.input_shape)
    images = keras.Input(model.input_shape[1:], name="images")
    logits = []
    for axes, transposed in _symmetries(model, flip, dense):
        mirrored = ops.flip(images, axes) if axes else images
        output = model(ops.swapaxes(mirrored, _HEIGHT, _WIDTH) if transposed else mirrored)
        logits.append(ops.flip(output, axes) if axes and dense else output)
    mean = keras.Model(images, layers.Average(name="mean")(logits), name=f"{model.name}_{flip}_flips")
    # Keras' own names count on from one model to the next, and go into the saved model
    for number, operation in enumerate(each for each in mean.operations if not isinstance(each, keras.Layer)):
        operation.name = f"mirror_{number}"
    return mean


def _symmetries(model: keras.Model, flip: str, dense: bool) -> list[tuple[tuple[int, ...], bool]]:
    """The axes along which an image is flipped, and whether it is transposed afterwards."""
    _, height, width, _ = model.input_shape
    if flip == "horizontal":
        return [((), False), ((_WIDTH,), False)]
    transpositions = [False, True] if height == width and not dense else [False]
    flips: list[tuple[int, ...]] = [(), (_WIDTH,), (_HEIGHT,), (_HEIGHT, _WIDTH)]
    return [(axes, transposed) for axes in flips for transposed in transpositions]
