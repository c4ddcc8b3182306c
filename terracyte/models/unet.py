"""U-Net (arXiv 1505.04597): an encoder, a decoder, and a shortcut between them at each resolution."""

from typing import Any

import keras
from keras import layers

from terracyte.core.errors import InputError
from terracyte.models.blocks import (
    attention_gate,
    convolution,
    kernel_regularizer,
    rescaled_input,
    residual,
    squeeze_excite,
)
from terracyte.models.encoder import STRIDES, features
from terracyte.models.problem import Problem
from terracyte.params.variant import Config


def build(config: Config, problem: Problem) -> keras.Model:
    """A U-Net whose level i has `width * 2**i` filters, `depth` levels in all.

    With `patch` above 1 the first level works on squares of `patch` x `patch` pixels: a strided convolution reads them,
    and the last layer gives the logits of all their pixels at once.

    With an `encoder` the images are enlarged, the backbone takes the encoder's place, and the decoder ends at the
    images' own resolution; `depth` and `patch` have no say then.

    Args:
        config: `width`, `depth`, `patch`, `residual` (each level's convolutions are a residual block), `attention` (the
            decoder gates the encoder's shortcuts), `joined` (how it takes them), `squeeze_excite`, `standardize`,
            `raw_brightness` (without an encoder), `input_dropout`, `dropout` (of the bottleneck), `l1` and `l2` matter;
            with an encoder those of `encoder.features`, too.
        problem: with masks; h and w are multiples of patch * 2 ** (depth - 1), or what the encoder asks for.

    Returns:
        Images (b, h, w, c), 0-255 → logits (b, h, w, k).

    Raises:
        InputError: the task has no masks, h or w is no such multiple, or see `encoder.features`.
    """
    if not problem.dense:
        raise InputError("params.yaml: 'architecture: unet' needs a task with masks; choose cnn")
    images, x = rescaled_input(problem.image_shape, config.input_dropout, config.standardize)
    if config.encoder == "none":
        _check_edges(config, problem)
        if config.raw_brightness:
            raw = layers.Rescaling(1 / 64, offset=-1.0, dtype="float32", name="raw_brightness")(images)
            x = layers.Concatenate(name="standardized_and_raw")([x, raw])
        shortcuts, x = _encode(x, config)
        patch = config.patch
    else:
        seen = features(x, config, problem)
        *shortcuts, x = [seen[stride] for stride in STRIDES if stride >= config.enlarge]
        shortcuts = [
            convolution(shortcut, config.width * 2**level, config, f"encoder_{level}", size=1)
            for level, shortcut in enumerate(shortcuts)
        ]
        # of images that were not enlarged the finest features show squares of two pixels
        patch = 2 if config.enlarge == 1 else 1
    x = layers.Dropout(config.dropout, name="dropout")(x)
    x = _decode(x, shortcuts, config)

    channels = problem.classes * patch**2
    regularizer = kernel_regularizer(config)
    logits = layers.Conv2D(channels, 1, kernel_regularizer=regularizer, dtype="float32", name="logits")(x)
    return keras.Model(images, _depth_to_space(logits, patch), name="unet")


def _encode(x: Any, config: Config) -> tuple[list[Any], Any]:
    """The levels' features, finest first, and the bottleneck's."""
    filters = [config.width * 2**level for level in range(config.depth)]
    if config.patch > 1:
        x = convolution(x, filters[0], config, "patches", size=config.patch, stride=config.patch)
    shortcuts = []
    for level, width in enumerate(filters[:-1]):
        x = _convolutions(x, width, config, f"encoder_{level}")
        shortcuts.append(x)
        x = layers.MaxPooling2D(2, name=f"encoder_{level}_pooling")(x)
    return shortcuts, _convolutions(x, filters[-1], config, "bottleneck")


def _decode(x: Any, shortcuts: list[Any], config: Config) -> Any:
    for level in reversed(range(len(shortcuts))):
        shortcut, filters = shortcuts[level], config.width * 2**level
        if config.attention:
            shortcut = attention_gate(shortcut, x, config, f"decoder_{level}_gate")
        x = convolution(x, filters, config, f"decoder_{level}_up", size=1)
        x = layers.UpSampling2D(2, interpolation="bilinear", name=f"decoder_{level}_upsampling")(x)
        join = layers.Concatenate if config.joined == "concatenate" else layers.Add
        x = join(name=f"decoder_{level}_shortcut")([x, shortcut])
        x = _convolutions(x, filters, config, f"decoder_{level}")
    return x


def _depth_to_space(x: Any, patch: int) -> Any:
    """Sub-pixel rearrangement (arXiv 1609.05158): (b, h, w, patch² k) → (b, patch h, patch w, k)."""
    if patch == 1:
        return x
    _, height, width, channels = x.shape
    classes = channels // patch**2
    x = layers.Reshape((height, width, patch, patch, classes), dtype="float32", name="pixels_split")(x)
    x = layers.Permute((1, 3, 2, 4, 5), dtype="float32", name="pixels_placed")(x)
    return layers.Reshape((patch * height, patch * width, classes), dtype="float32", name="pixels")(x)


def _convolutions(x: Any, filters: int, config: Config, name: str) -> Any:
    if config.residual:
        return residual(x, filters, config, name)
    x = convolution(x, filters, config, f"{name}_1")
    x = convolution(x, filters, config, f"{name}_2")
    return squeeze_excite(x, name) if config.squeeze_excite else x


def _check_edges(config: Config, problem: Problem) -> None:
    height, width, _ = problem.image_shape
    factor = config.patch * 2 ** (config.depth - 1)
    if height % factor or width % factor:
        raise InputError(
            f"params.yaml: 'depth' is {config.depth} and 'patch' {config.patch}, which asks for image edges that are"
            f" multiples of {factor}; the images are {height}x{width} pixels: choose a smaller depth or patch"
        )
