"""Test-time flips: one model out of a network and the mirror images of its input."""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import keras
from keras import layers, ops

# Axes of images (b, h, w, c) and of logits (b, h, w, k).
_HEIGHT, _WIDTH = 1, 2

# A way to mirror images, and the way back.
_Mirror = tuple[Callable[[Any], Any], Callable[[Any], Any]]


def averaged(model: keras.Model, flip: Literal["none", "horizontal", "both"]) -> keras.Model:
    """A model whose logits are the mean of `model`'s over the mirrors of an image, each turned back.

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
    images = keras.Input(model.input_shape[1:], name="images")
    logits = [back(model(there(images))) for there, back in _mirrors(model, flip)]
    whole = keras.Model(images, layers.Average(name="mean")(logits), name=f"{model.name}_{flip}_flips")
    _name_operations(whole)
    return whole


def _mirrors(model: keras.Model, flip: str) -> Iterator[_Mirror]:
    dense = len(model.output_shape) == len(model.input_shape)
    _, height, width, _ = model.input_shape
    axes: list[tuple[int, ...]] = [(), (_WIDTH,)]
    if flip == "both":
        axes += [(_HEIGHT,), (_HEIGHT, _WIDTH)]
    for chosen in axes:
        mirror = _flipping(chosen)
        yield mirror, mirror if dense else _unchanged
        if flip == "both" and height == width and not dense:
            yield _transposing(mirror), _unchanged


def _flipping(axes: tuple[int, ...]) -> Callable[[Any], Any]:
    return (lambda x: ops.flip(x, axes)) if axes else _unchanged


def _transposing(mirror: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: ops.swapaxes(mirror(x), _HEIGHT, _WIDTH)


def _unchanged(x: Any) -> Any:
    return x


def _name_operations(model: keras.Model) -> None:
    """Number the operations anew: Keras counts them per process, and their names go into the saved model."""
    operations = [each for each in model.operations if not isinstance(each, keras.Layer)]
    for number, operation in enumerate(operations):
        operation.name = f"mirror_{number}"
