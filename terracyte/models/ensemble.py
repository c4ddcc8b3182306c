"""Deep ensembles (arXiv 1612.01474): one model that averages several, and errs less than each of them."""

from collections.abc import Sequence

import keras
from keras import layers

_MEMBER = "member_"


def averaged(models: Sequence[keras.Model]) -> keras.Model:
    """A model whose logits are the mean of those of `models`, which it holds as layers.

    Args:
        models: of the same input and output; they are renamed, as a model's layers need different names.

    Returns:
        A model of the same input and output; `models[0]` itself where it is the only one.
    """
    if len(models) == 1:
        return models[0]
    for number, model in enumerate(models):
        model.name = f"{_MEMBER}{number}"
    images = keras.Input(models[0].input_shape[1:], name="images")
    logits = layers.Average(name="mean")([model(images) for model in models])
    return keras.Model(images, logits, name="ensemble")


def members(model: keras.Model) -> list[keras.Model]:
    """The models that `averaged` joined, in their order; `model` itself where it was the only one."""
    return [layer for layer in model.layers if layer.name.startswith(_MEMBER)] or [model]
