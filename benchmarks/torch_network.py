"""A Keras network as a PyTorch network of the same layers, so that both can be timed on the same work."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import torch
from torch import nn
from torch.nn import functional

# The PyTorch equivalent of a Keras layer: a module or a function.
Part = Any


class TorchNetwork(nn.Module):  # type: ignore[misc]  # PyTorch is not installed where types are checked
    """A network of the layers of a functional Keras model, in the same order, with PyTorch's own random weights.

    Args:
        model: the Keras model; its layers must be in `_PARTS`, or be models of such layers.
    """

    def __init__(self, model: keras.Model) -> None:
        super().__init__()
        nodes = model._nodes_by_depth
        self.steps = [node for depth in sorted(nodes, reverse=True) for node in nodes[depth] if node.input_tensors]
        self.inputs, self.outputs = [id(tensor) for tensor in model.inputs], [id(tensor) for tensor in model.outputs]
        self.parts: dict[str, Part] = {}
        for node in self.steps:
            layer = node.operation
            self.parts[layer.name] = part = _part(layer)
            if isinstance(part, nn.Module):
                self.add_module(layer.name, part)

    def forward(self, images: Any) -> Any:
        """Map images (b, c, h, w) to the model's output, or the list of its outputs, with channels second."""
        values = {self.inputs[0]: images}
        for node in self.steps:
            result = self.parts[node.operation.name](*(values[id(tensor)] for tensor in node.input_tensors))
            results = result if isinstance(result, list) else [result]
            values.update(zip([id(tensor) for tensor in node.outputs], results, strict=True))
        outputs = [values[output] for output in self.outputs]
        return outputs if len(outputs) > 1 else outputs[0]


def _part(layer: Any) -> Part:
    if isinstance(layer, keras.Model):
        return TorchNetwork(layer)
    return _PARTS[type(layer).__name__](layer)


def _convolution(layer: Any, groups: int = 1) -> Part:
    channels = layer.input.shape[-1]
    padding = layer.kernel_size[0] // 2 if layer.padding == "same" and layer.strides == (1, 1) else 0
    filters = channels if groups > 1 else layer.filters
    made = nn.Conv2d(channels, filters, layer.kernel_size, layer.strides, padding, groups=groups, bias=layer.use_bias)
    if layer.padding == "valid" or padding or max(layer.kernel_size) == 1 or layer.kernel_size == layer.strides:
        return made
    # strided and `same`: TensorFlow pads more below and to the right; padding only there gives the same output size
    return nn.Sequential(nn.ZeroPad2d((0, layer.kernel_size[1] - 1, 0, layer.kernel_size[0] - 1)), made)


def _normalisation(layer: Any) -> Part:
    made = nn.BatchNorm2d(layer.input.shape[-1], eps=layer.epsilon, momentum=1 - layer.momentum)
    return made.train(layer.trainable)


def _dense(layer: Any) -> Part:
    made = nn.Conv2d(layer.input.shape[-1], layer.units, 1)
    activation = {"relu": functional.relu, "sigmoid": torch.sigmoid}.get(layer.activation.__name__)
    return nn.Sequential(made, _Function(activation)) if activation else made


class _Function(nn.Module):  # type: ignore[misc]
    def __init__(self, function: Part) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Any) -> Any:
        return self.function(x)


def _standardized(x: Any) -> Any:
    return functional.layer_norm(x, x.shape[1:], eps=1.0)


_PARTS: dict[str, Callable[[Any], Part]] = {
    "Activation": lambda layer: functional.relu,
    "Add": lambda layer: torch.add,
    "AveragePooling2D": lambda layer: functools.partial(functional.avg_pool2d, kernel_size=layer.pool_size),
    "BatchNormalization": _normalisation,
    "Concatenate": lambda layer: lambda *tensors: torch.cat(tensors, 1),
    "Conv2D": _convolution,
    "Dense": _dense,
    "DepthwiseConv2D": lambda layer: _convolution(layer, layer.input.shape[-1]),
    "Dropout": lambda layer: nn.Dropout(layer.rate),
    "GlobalAveragePooling2D": lambda layer: functools.partial(torch.mean, dim=(2, 3), keepdim=True),
    "LayerNormalization": lambda layer: _standardized,
    "MaxPooling2D": lambda layer: nn.MaxPool2d(layer.pool_size, layer.strides, (layer.pool_size[0] - 1) // 2),
    "Multiply": lambda layer: torch.mul,
    # the U-Net splits patches into pixels by Reshape, Permute and Reshape: here the first one does it all
    "Permute": lambda layer: nn.Identity(),
    "ReLU": lambda layer: functional.relu6 if layer.max_value == 6 else functional.relu,
    "Rescaling": lambda layer: lambda x: x * layer.scale + layer.offset,
    "Reshape": lambda layer: nn.PixelShuffle(layer.target_shape[2]) if len(layer.target_shape) == 5 else nn.Identity(),
    "Resizing": lambda layer: functools.partial(
        functional.interpolate, size=(layer.height, layer.width), mode="bilinear"
    ),
    "UpSampling2D": lambda layer: functools.partial(functional.interpolate, scale_factor=layer.size, mode="bilinear"),
    "ZeroPadding2D": lambda layer: nn.ZeroPad2d((*layer.padding[1], *layer.padding[0])),
}
