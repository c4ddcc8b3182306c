"""Transfer learning: one of Keras' applications as the backbone, and a small head for the task's classes."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
from keras import layers

from terracyte.core.errors import InputError
from terracyte.models.blocks import kernel_penalty, rescaled_input
from terracyte.models.problem import Problem
from terracyte.params.variant import Config

# Makes a network of Keras' applications.
Application = Callable[..., keras.Model]

_BACKBONE = "backbone"
_SMALLEST_EDGE = 32  # of the applications' input, in pixels
# Of batch normalisation that starts from nothing. Keras' 0.999 in MobileNetV3 needs thousands of steps to forget it.
_MOMENTUM = 0.9


def classifier(
    config: Config,
    problem: Problem,
    sizes: Mapping[str, Application],
    adapt: Callable[[keras.Model], keras.Model] = lambda network: network,
    **options: Any,
) -> keras.Model:
    """Resizing, backbone with global average pooling, dropout and a dense layer.

    The backbone holds its own preprocessing, and grey images are shown to it as colours.

    Args:
        config: `size`, `resolution`, `input_dropout`, `dropout`, and `l1` and `l2` of the dense layer's kernel:
            penalties on a pretrained backbone would pull it away from what it knows.
        problem: with labels.
        sizes: the family's networks by `config.size`.
        adapt: changes the backbone once its weights are loaded.
        options: of the network.

    Returns:
        Images (b, h, w, c), 0-255 → logits (b, k).

    Raises:
        InputError: the family has no such size, the task has masks, images are too small, or the pretrained
            weights cannot be loaded.
    """
    resolution = config.resolution
    edges = (resolution, resolution) if resolution else problem.image_shape[:2]
    _check(config, problem, sizes, edges)

    images, x = rescaled_input(problem.image_shape, config.input_dropout)
    x = layers.Rescaling(127.5, offset=127.5, name="grey_values")(x)
    if edges != problem.image_shape[:2]:
        x = layers.Resizing(*edges, interpolation="bilinear", name="resizing")(x)
    if problem.image_shape[2] == 1:
        x = layers.Concatenate(name="colours")([x, x, x])

    network = sizes[config.size](
        include_top=False, weights=None, input_shape=(*edges, 3), pooling="avg", name=_BACKBONE, **options
    )
    if problem.pretrained is not None:
        _load(network, problem.pretrained)
    else:
        _hasten(network)
    network = adapt(network)
    _name_operations(network)

    x = layers.Dropout(config.dropout, name="dropout")(network(x))
    penalty = kernel_penalty(config)
    logits = layers.Dense(problem.classes, kernel_regularizer=penalty, dtype="float32", name="logits")(x)
    return keras.Model(images, logits, name=config.architecture)


def train_share(model: keras.Model, share: float) -> None:
    """Let the last `share` of a pretrained backbone's layers be trained, and the head; compile anew after it.

    Batch normalisation stays as it is, which in Keras also means that it works with its own statistics: they are
    better than those of a small task's batches.

    Args:
        model: made by `classifier`.
        share: 0-1; 0 trains the head only; layers without weights don't count.
    """
    weighted = [layer for layer in model.get_layer(_BACKBONE).layers if layer.weights]
    frozen = round((1 - share) * len(weighted))
    # one by one: `backbone.trainable = True` reaches no layer where it was true before
    for number, layer in enumerate(weighted):
        layer.trainable = number >= frozen and not isinstance(layer, layers.BatchNormalization)


def _hasten(network: keras.Model) -> None:
    """Let the statistics of batch normalisation follow training within a small task's steps."""
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = _MOMENTUM


def _check(config: Config, problem: Problem, sizes: Mapping[str, Application], edges: tuple[int, ...]) -> None:
    if problem.dense:
        raise InputError(f"params.yaml: 'architecture: {config.architecture}' needs a task with labels; choose unet")
    if config.size not in sizes:
        allowed = ", ".join(sizes)
        raise InputError(f"params.yaml: 'size' is {config.size!r}; {config.architecture} comes in {allowed}")
    if min(edges) < _SMALLEST_EDGE:
        raise InputError(
            f"params.yaml: {config.architecture} needs images of {_SMALLEST_EDGE} pixels or more, and would get"
            f" {edges[0]}x{edges[1]}: set 'resolution' to {_SMALLEST_EDGE} or more"
        )


def _name_operations(network: keras.Model) -> None:
    """Number the operations: the names that Keras makes up go on counting from one model to the next."""
    for number, operation in enumerate(network.operations):
        operation.name = f"{_BACKBONE}_{number}"


def _load(network: keras.Model, path: Path) -> None:
    try:
        with warnings.catch_warnings():
            # Keras only warns where it leaves some layers with random weights
            warnings.simplefilter("error", UserWarning)
            network.load_weights(path)
    # h5py and Keras answer a foreign, cut or empty file with these
    except (OSError, ValueError, KeyError, IndexError, AttributeError, TypeError, UserWarning) as error:
        problem = "holds no weights of this backbone" if path.exists() else "is missing"
        raise InputError(f"{path} {problem} or is damaged: put the right file there, or change 'weights'") from error
