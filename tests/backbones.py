"""Keras' backbones with only a few blocks: Keras' smallest ones take seconds to build, to trace and to save."""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any
from unittest import mock

import keras

# Keras' public interface has predefined sizes only.
from keras.src.applications.convnext import ConvNeXt
from keras.src.applications.mobilenet_v3 import MobileNetV3, _inverted_res_block, relu

from terracyte.models import convnext, efficientnet_lite, mobilenet_v3

# the narrowest network that has all stages
small_efficientnet_lite = functools.partial(efficientnet_lite.SIZES["lite0"].func, 0.25, 0.1)  # type: ignore[attr-defined]
small_convnext = functools.partial(ConvNeXt, depths=(1, 1, 1, 1), projection_dims=(8, 16, 32, 64))


def small_mobilenet_v3(**options: Any) -> keras.Model:
    """Return MobileNetV3 with one block of each resolution and one with a shortcut."""
    return MobileNetV3(_blocks, last_point_ch=32, **options)


def _blocks(x: Any, kernel: int, activation: Any, se_ratio: float | None) -> Any:
    for number in range(4):
        x = _inverted_res_block(x, 1, 16, 3, 2, se_ratio, relu, number)
    return _inverted_res_block(x, 2, 16, kernel, 1, se_ratio, activation, 4)


@contextlib.contextmanager
def small() -> Iterator[None]:
    """Replace ConvNeXt's `tiny`, MobileNetV3's `small` and EfficientNet-Lite's `lite0` by ours within the block."""
    with (
        mock.patch.dict(convnext.SIZES, {"tiny": small_convnext}),
        mock.patch.dict(efficientnet_lite.SIZES, {"lite0": small_efficientnet_lite}),
        mock.patch.dict(mobilenet_v3.SIZES, {"small": small_mobilenet_v3}),
    ):
        yield
