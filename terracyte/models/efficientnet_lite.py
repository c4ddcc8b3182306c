"""EfficientNet-Lite: EfficientNet (arXiv 1905.11946) without squeeze-and-excitation, and with ReLU6 instead of Swish,
https://blog.tensorflow.org/2020/03/higher-accuracy-on-vision-models-with-efficientnet-lite.html."""

import functools
import math
from typing import Any

import keras
from keras import layers

from terracyte.models.problem import Problem
from terracyte.models.transfer import Application, classifier
from terracyte.params.variant import Config

# (kernel, stride, expansion, filters, repeats) of each stage
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
_STEM, _HEAD = 32, 1280  # filters, which no size scales


def build(config: Config, problem: Problem) -> keras.Model:
    """EfficientNet-Lite of `config.size` (lite0, lite2); see `transfer.classifier`."""
    return classifier(config, problem, SIZES)


def _network(
    width: float,
    depth: float,
    *,
    input_shape: tuple[int, int, int],
    include_top: bool = True,
    weights: None = None,
    pooling: str | None = None,
    name: str = "efficientnet_lite",
) -> keras.Model:
    """The network, with the arguments that Keras' applications have.

    Layers follow each other as in the released weights' file, so that `fetch` pairs them by their order.

    Args:
        width, depth: factors of the stages' filters and of their repeats.
        input_shape: (h, w, 3).
        include_top: add global average pooling and the logits of ImageNet's 1000 classes.
        weights: random always.
        pooling: avg, or None to return the last features (b, h / 32, w / 32, 1280).
        name: of the model.

    Returns:
        Images (b, h, w, 3), 0-255 → features or logits.
    """
    images = keras.Input(input_shape)
    x = layers.Rescaling(1 / 128, offset=-127 / 128)(images)
    x = _convolution(x, _STEM, 3, stride=2)
    for number, (kernel, stride, expansion, filters, repeats) in enumerate(_STAGES):
        inner = 0 < number < len(_STAGES) - 1
        for block in range(math.ceil(repeats * depth) if inner else repeats):
            x = _block(x, _rounded(filters * width), kernel, 1 if block else stride, expansion)
    x = _convolution(x, _HEAD, 1)
    if include_top or pooling == "avg":
        x = layers.GlobalAveragePooling2D()(x)
    if include_top:
        x = layers.Dense(1000)(x)
    return keras.Model(images, x, name=name)


SIZES: dict[str, Application] = {
    "lite0": functools.partial(_network, 1.0, 1.0),
    "lite2": functools.partial(_network, 1.1, 1.2),
}


def _block(x: Any, filters: int, kernel: int, stride: int, expansion: int) -> Any:
    """Inverted residual with a linear bottleneck (arXiv 1801.04381)."""
    start = x
    if expansion > 1:
        x = _convolution(x, x.shape[-1] * expansion, 1)
    x = layers.DepthwiseConv2D(kernel, strides=stride, padding="same", use_bias=False)(x)
    x = layers.ReLU(6.0)(_normalisation(x))
    x = _normalisation(layers.Conv2D(filters, 1, use_bias=False)(x))
    return layers.Add()([x, start]) if stride == 1 and start.shape[-1] == filters else x


def _convolution(x: Any, filters: int, kernel: int, stride: int = 1) -> Any:
    x = layers.Conv2D(filters, kernel, strides=stride, padding="same", use_bias=False)(x)
    return layers.ReLU(6.0)(_normalisation(x))


def _normalisation(x: Any) -> Any:
    return layers.BatchNormalization(epsilon=1e-3)(x)


def _rounded(filters: float) -> int:
    """The nearest multiple of 8."""
    return int(filters + 4) // 8 * 8
