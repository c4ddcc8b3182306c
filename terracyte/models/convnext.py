"""ConvNeXt (arXiv 2201.03545), the convolutional network of the course's best entries."""

import keras
import numpy as np
from keras import layers

from terracyte.models.problem import Problem
from terracyte.models.transfer import classifier
from terracyte.params.variant import Config

SIZES = {
    "tiny": keras.applications.ConvNeXtTiny,
    "small": keras.applications.ConvNeXtSmall,
    "base": keras.applications.ConvNeXtBase,
    "large": keras.applications.ConvNeXtLarge,
    "xlarge": keras.applications.ConvNeXtXLarge,
}


def build(config: Config, problem: Problem) -> keras.Model:
    """ConvNeXt of `config.size` (tiny to xlarge); see `transfer.classifier`."""
    return classifier(config, problem, SIZES, adapt=_with_depthwise_layers)


def _with_depthwise_layers(network: keras.Model) -> keras.Model:
    """A network with the same weights and outputs that uses Keras' depthwise convolution layers.

    Keras' ConvNeXt uses grouped convolutions with one channel per group instead, which TensorFlow computes 20 to 100
    times slower on a processor (measured: 379 against 4 ms for 7x7 on 32 images of 16x16x96).
    """
    copy = keras.models.clone_model(network, clone_function=_clone_layer)
    for layer in (layer for layer in copy.layers if layer.weights):
        weights = network.get_layer(layer.name).get_weights()
        if isinstance(layer, layers.DepthwiseConv2D):
            # (h, w, 1, channels) → (h, w, channels, 1)
            weights[0] = np.swapaxes(weights[0], 2, 3)
        layer.set_weights(weights)
    return copy


def _clone_layer(layer: keras.Layer) -> keras.Layer:
    if isinstance(layer, layers.Conv2D) and layer.groups > 1:
        return layers.DepthwiseConv2D(layer.kernel_size, padding=layer.padding, name=layer.name)
    return type(layer).from_config(layer.get_config())
