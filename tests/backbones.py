"""Keras' backbones with a few blocks: its own smallest ones take seconds to build, to trace and to save."""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any
from unittest import mock

import keras

# Keras exports finished sizes only.
from keras.src.applications.convnext import ConvNeXt
from keras.src.applications.mobilenet_v3 import MobileNetV3, _inverted_res_block, relu

from terracyte.models import convnext, mobilenet_v3

small_convnext = functools.partial(ConvNeXt, depths=(1, 1, 1, 1), projection_dims=(8, 16, 32, 64))


def small_mobilenet_v3(**options: Any) -> keras.Model:
    """MobileNetV3 with two blocks: one that strides, and one with a shortcut."""
    return MobileNetV3(_blocks, last_point_ch=32, **options)


def _blocks(x: Any, kernel: int, activation: Any, se_ratio: float | None) -> Any:
    x = _inverted_res_block(x, 1, 16, 3, 2, se_ratio, relu, 0)
    return _inverted_res_block(x, 2, 16, kernel, 1, se_ratio, activation, 1)


@contextlib.contextmanager
def small() -> Iterator[None]:
    """Within the block `size: tiny` of ConvNeXt and `size: small` of MobileNetV3 are the networks of this module."""
    with (
        mock.patch.dict(convnext.SIZES, {"tiny": small_convnext}),
        mock.patch.dict(mobilenet_v3.SIZES, {"small": small_mobilenet_v3}),
    ):
        yield
