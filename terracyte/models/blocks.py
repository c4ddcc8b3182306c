"""Building blocks of the networks.

Every weighted layer is named, so that the same configuration serialises to the same bytes however many
models a process has built before.
"""

from typing import Any

import keras
from keras import layers

from terracyte.models.fused_normalisation import normalisation
from terracyte.params.variant import Config


def rescaled_input(
    image_shape: tuple[int, int, int], dropout: float = 0.0, standardize: bool = False
) -> tuple[Any, Any]:
    """The input (b, h, w, c), 0-255, and its rescaling to [-1, 1]: callers never rescale.

    Args:
        image_shape: (h, w, c).
        dropout: share of values that become middle grey in training, so that no single pixel is trusted
            (Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html); 0-1.
        standardize: bring each image to a mean of 0 and a variance of 1 instead, over all its pixels and channels:
            this removes exposure and contrast, which say little about what is seen.

    Returns:
        The input, and the rescaled images (b, h, w, c) float32 with dropout applied.
    """
    images = keras.Input(image_shape, name="images")
    if standardize:
        # epsilon: a variance of 1 grey value, so that empty images stay finite and noise is not amplified
        x = layers.LayerNormalization(
            (1, 2, 3), epsilon=1.0, center=False, scale=False, dtype="float32", name="standardization"
        )(images)
    else:
        x = layers.Rescaling(1 / 127.5, offset=-1.0, dtype="float32", name="rescaling")(images)
    return images, layers.Dropout(dropout, name="input_dropout")(x) if dropout else x


def convolution(x: Any, filters: int, config: Config, name: str, size: int = 3, stride: int = 1) -> Any:
    """Convolution → batch normalisation (arXiv 1502.03167) → ReLU."""
    return layers.Activation("relu", name=f"{name}_relu")(
        normalised_convolution(x, filters, config, name, size, stride)
    )


def normalised_convolution(x: Any, filters: int, config: Config, name: str, size: int = 3, stride: int = 1) -> Any:
    """Convolution without bias (the normalisation brings one) → batch normalisation."""
    x = layers.Conv2D(
        filters,
        size,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        kernel_regularizer=kernel_regularizer(config),
        name=f"{name}_convolution",
    )(x)
    return normalisation(momentum=0.9, name=f"{name}_normalisation")(x)


def residual(x: Any, filters: int, config: Config, name: str, stride: int = 1) -> Any:
    """Two convolutions and a shortcut (arXiv 1512.03385); a strided block's shortcut is average pooling.

    Args:
        x: (b, h, w, any) features.
        filters: channels of the result.
        config: for `squeeze_excite`, `l1` and `l2`.
        name: prefix of the layers' names.
        stride: 1 or 2.

    Returns:
        (b, h / stride, w / stride, filters) features.
    """
    shortcut = x
    if stride > 1:
        # pooling keeps what a strided 1x1 convolution would skip (ResNet-D, arXiv 1812.01187)
        shortcut = layers.AveragePooling2D(stride, padding="same", name=f"{name}_shortcut_pooling")(shortcut)
    if x.shape[-1] != filters:
        shortcut = normalised_convolution(shortcut, filters, config, f"{name}_shortcut", size=1)
    x = convolution(x, filters, config, f"{name}_1", stride=stride)
    x = normalised_convolution(x, filters, config, f"{name}_2")
    if config.squeeze_excite:
        x = squeeze_excite(x, name)
    x = layers.Add(name=f"{name}_add")([x, shortcut])
    return layers.Activation("relu", name=f"{name}_relu")(x)


def squeeze_excite(x: Any, name: str, reduction: int = 8) -> Any:
    """Channel attention (arXiv 1709.01507): scale each channel by a gate in (0, 1) computed from all their means.

    Args:
        x: (b, h, w, f) features.
        name: prefix of the layers' names.
        reduction: f / reduction channels in the gate's bottleneck, at least 4.

    Returns:
        (b, h, w, f) features.
    """
    filters = x.shape[-1]
    gate = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(x)
    gate = layers.Dense(max(filters // reduction, 4), "relu", name=f"{name}_excite_1")(gate)
    gate = layers.Dense(filters, "sigmoid", name=f"{name}_excite_2")(gate)
    return layers.Multiply(name=f"{name}_scale")([x, gate])


def attention_gate(shortcut: Any, coarse: Any, config: Config, name: str) -> Any:
    """Additive attention gate (arXiv 1804.03999): scale each pixel of a shortcut by a weight in (0, 1).

    The weight is computed from the shortcut and the coarser level, at the coarse resolution, where it costs little,
    and upsampled.

    Args:
        shortcut: (b, h, w, f) features of the encoder.
        coarse: (b, h / 2, w / 2, any) features of the decoder's level below.
        config: for `l1` and `l2`.
        name: prefix of the layers' names.

    Returns:
        (b, h, w, f) features.
    """
    filters = max(shortcut.shape[-1] // 2, 1)
    offered = normalised_convolution(shortcut, filters, config, f"{name}_offered", size=2, stride=2)
    wanted = normalised_convolution(coarse, filters, config, f"{name}_wanted", size=1)
    gate = layers.Activation("relu", name=f"{name}_relu")(layers.Add(name=f"{name}_add")([offered, wanted]))
    gate = layers.Conv2D(
        1, 1, activation="sigmoid", kernel_regularizer=kernel_regularizer(config), name=f"{name}_sigmoid"
    )(gate)
    gate = layers.UpSampling2D(2, interpolation="bilinear", name=f"{name}_upsampling")(gate)
    return layers.Multiply(name=f"{name}_scale")([shortcut, gate])


def kernel_regularizer(config: Config) -> Any:
    """Keras' L1L2 penalty of a kernel, or None where `l1` and `l2` are both 0."""
    if config.l1 or config.l2:
        return keras.regularizers.L1L2(l1=config.l1, l2=config.l2)
    return None
