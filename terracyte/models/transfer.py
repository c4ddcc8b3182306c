"""Transfer learning: a backbone that may be pretrained on ImageNet, and a small head for the task's classes."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
from keras import layers

from terracyte.core import opening
from terracyte.core.errors import InputError
from terracyte.models.blocks import kernel_regularizer, rescaled_input
from terracyte.models.problem import Problem
from terracyte.params.variant import Config

# Makes a network, with the arguments of Keras' applications.
Application = Callable[..., keras.Model]

BACKBONE = "backbone"
_SMALLEST_EDGE = 32  # of the applications' input, in pixels
# Mean and standard deviation of ImageNet's grey values, which standardized images are brought to
_MEAN, _DEVIATION = 114.5, 57.4
# Momentum of batch normalisation in backbones without pretrained weights: with the 0.999 of Keras' MobileNetV3 the
# statistics need thousands of steps to follow the training, more than a small task has.
_MOMENTUM = 0.9
# What h5py and Keras raise on a foreign, truncated or empty file
_OF_VALUES = (ValueError, LookupError, AttributeError, TypeError, ArithmeticError, UserWarning)
_DAMAGE = (*_OF_VALUES, OSError, RuntimeError, MemoryError)


def classifier(
    config: Config,
    problem: Problem,
    sizes: Mapping[str, Application],
    adapt: Callable[[keras.Model], keras.Model] = lambda network: network,
    **options: Any,
) -> keras.Model:
    """Resizing, backbone with global average pooling, dropout and a dense layer.

    The backbone includes its own preprocessing. Grey images are repeated into its three channels.

    Args:
        config: `size`, `resolution`, `input_dropout`, `dropout`, and `l1` and `l2` of the dense layer's kernel:
            penalties on a pretrained backbone would pull its weights away from their pretrained values.
        problem: with labels.
        sizes: the family's networks by `config.size`.
        adapt: network → network with the same outputs; called after the weights are loaded.
        options: further arguments of the network's constructor.

    Returns:
        Images (b, h, w, c), 0-255 → logits (b, k).

    Raises:
        InputError: the family has no such size, the task has masks, images are too small, or the pretrained
            weights cannot be loaded.
    """
    resolution = config.resolution
    edges = (resolution, resolution) if resolution else problem.image_shape[:2]
    _check(config, problem, edges)

    images, x = rescaled_input(problem.image_shape, config.input_dropout)
    network = adapt(backbone(config, edges, sizes, problem.pretrained, pooling="avg", **options))
    rename(network)
    x = network(as_colours(x, edges))

    x = layers.Dropout(config.dropout, name="dropout")(x)
    regularizer = kernel_regularizer(config)
    logits = layers.Dense(problem.classes, kernel_regularizer=regularizer, dtype="float32", name="logits")(x)
    return keras.Model(images, logits, name=config.architecture)


def as_colours(x: Any, edges: tuple[int, int], standardized: bool = False) -> Any:
    """What `rescaled_input` gives, (b, h, w, 1 or 3), as the image that a backbone expects: (b, *edges, 3), 0-255."""
    scale, offset = (_DEVIATION, _MEAN) if standardized else (127.5, 127.5)
    x = layers.Rescaling(scale, offset=offset, name="grey_values")(x)
    if edges != x.shape[1:3]:
        x = layers.Resizing(*edges, interpolation="bilinear", name="resizing")(x)
    return layers.Concatenate(name="colours")([x, x, x]) if x.shape[-1] == 1 else x


def backbone(
    config: Config, edges: tuple[int, int], sizes: Mapping[str, Application], pretrained: Path | None, **options: Any
) -> keras.Model:
    """A family's network of `config.size` without its top, with pretrained or with random weights.

    Args:
        config: `size` matters.
        edges: (h, w) of its images in pixels.
        sizes: the family's networks by `config.size`.
        pretrained: the weights' file; None for random ones.
        options: further arguments of the network's constructor.

    Raises:
        InputError: the family has no such size, or the weights are missing, damaged or another network's.
    """
    if config.size not in sizes:
        family = config.architecture if config.encoder == "none" else config.encoder
        raise InputError(f"params.yaml: 'size' is {config.size!r}; {family} comes in {', '.join(sizes)}")
    network = sizes[config.size](include_top=False, weights=None, input_shape=(*edges, 3), name=BACKBONE, **options)
    if pretrained is not None:
        _load_weights(network, pretrained)
        return network
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = _MOMENTUM
    return network


def rename(network: keras.Model) -> None:
    """Number a backbone's layers: Keras' own names count on from one model to the next, and go into the saved model."""
    for number, operation in enumerate(network.operations):
        operation.name = f"{BACKBONE}_{number}"


def set_trainable_share(model: keras.Model, share: float) -> None:
    """Make the head and the last `share` of the backbone's layers trainable; compile the model again afterwards.

    Batch normalisation stays frozen, which in Keras also means that it uses its pretrained statistics: they are better
    than those of a small task's batches.

    Args:
        model: with a backbone.
        share: of the layers with weights, 0-1; 0 trains the head only.
    """
    weighted = [layer for layer in model.get_layer(BACKBONE).layers if layer.weights]
    frozen = round((1 - share) * len(weighted))
    # one by one: `backbone.trainable = True` changes no layer where it was True before
    for number, layer in enumerate(weighted):
        layer.trainable = number >= frozen and not isinstance(layer, layers.BatchNormalization)


def _check(config: Config, problem: Problem, edges: tuple[int, ...]) -> None:
    if problem.dense:
        raise InputError(f"params.yaml: 'architecture: {config.architecture}' needs a task with labels; choose unet")
    if min(edges) < _SMALLEST_EDGE:
        raise InputError(
            f"params.yaml: {config.architecture} needs images of {_SMALLEST_EDGE} pixels or more, and would get"
            f" {edges[0]}x{edges[1]}: set 'resolution' to {_SMALLEST_EDGE} or more"
        )


def _load_weights(network: keras.Model, path: Path) -> None:
    try:
        opening.require_file(path)
        with warnings.catch_warnings():
            # Keras only warns where it leaves some layers with random weights
            warnings.simplefilter("error", UserWarning)
            network.load_weights(path)
    except _DAMAGE as error:
        problem = "holds no weights of this backbone" if path.exists() else "is missing"
        raise InputError(f"{path} {problem} or is damaged: put the right file there, or change 'weights'") from error
