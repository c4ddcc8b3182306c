"""Transfer learning: what the backbone computes, which of its layers are trained, and what is refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from terracyte import models
from terracyte.core.errors import InputError
from terracyte.models import transfer
from terracyte.models.problem import Problem
from terracyte.params.variant import Config
from tests import backbones

MOBILENET: dict[str, Any] = {"architecture": "mobilenet_v3", "size": "small", "minimalistic": True}
CONVNEXT: dict[str, Any] = {"architecture": "convnext", "size": "tiny"}


@pytest.fixture(scope="module", autouse=True)
def small_backbones() -> Iterator[None]:
    with backbones.small():
        yield


def config(**changed: Any) -> Config:
    return Config(**{"width": 4, "depth": 2, "dropout": 0.2, "l1": 0.0, "l2": 0.0, **changed})


def build(pretrained: Path | None = None, edge: int = 32, channels: int = 3, **changed: Any) -> keras.Model:
    shape = (edge, edge, channels)
    problem = Problem(image_shape=shape, dense=False, class_shares=(0.25,) * 4, pretrained=pretrained)
    keras.utils.set_random_seed(0)
    return models.build(config(**changed), problem)


def unet(pretrained: Path | None = None, **changed: Any) -> keras.Model:
    problem = Problem(image_shape=(32, 32, 1), dense=True, class_shares=(0.5, 0.5), pretrained=pretrained)
    keras.utils.set_random_seed(0)
    return models.build(config(**{**MOBILENET, "architecture": "unet", "encoder": "mobilenet_v3", **changed}), problem)


def images(channels: int = 3) -> Any:
    return np.random.default_rng(0).uniform(0, 255, (2, 32, 32, channels)).astype(np.float32)


def predict(model: keras.Model, x: Any) -> Any:
    # called eagerly: compiling takes seconds per model
    return keras.ops.convert_to_numpy(model(x, training=False))


def test_convnext_computes_what_keras_own_does(tmp_path: Path) -> None:
    network = backbones.small_convnext(include_top=False, weights=None, input_shape=(32, 32, 3), pooling="avg")
    random = np.random.default_rng(0)
    network.set_weights([random.normal(0, 0.05, weights.shape) for weights in network.get_weights()])
    network.save_weights(tmp_path / "any.weights.h5")
    ours = build(tmp_path / "any.weights.h5", **CONVNEXT).get_layer("backbone")
    np.testing.assert_allclose(predict(ours, images()), predict(network, images()), atol=1e-5)


@pytest.mark.parametrize("frozen", [True, False])
def test_only_frozen_normalisation_keeps_its_statistics(frozen: bool) -> None:
    model = build(**MOBILENET)
    if frozen:
        transfer.set_trainable_share(model, 1.0)
    statistics = [v for v in model.non_trainable_variables if "moving" in v.name]
    before = [keras.ops.convert_to_numpy(v) for v in statistics]
    model.compile("adam", "mse", run_eagerly=True)
    model.train_on_batch(images(), np.zeros((2, 4)))
    changed = [(keras.ops.convert_to_numpy(v) != old).any() for v, old in zip(statistics, before, strict=True)]
    assert len(changed) > 4
    assert any(changed) == (not frozen)


@pytest.mark.parametrize("architecture", ["mobilenet_v3", "unet"])
def test_trains_a_share_of_the_backbone_up_and_down(architecture: str) -> None:
    model = build(**MOBILENET) if architecture == "mobilenet_v3" else unet()
    own = len(model.trainable_variables) - len(model.get_layer("backbone").trainable_variables)
    counts = []
    for share in (0.0, 0.5, 1.0, 0.5, 0.0):
        transfer.set_trainable_share(model, share)
        counts.append(len(model.trainable_variables))
    assert counts[0] == own  # the variables of the head (kernel and bias) or of the decoder
    assert counts[0] < counts[1] < counts[2]
    assert counts == counts[::-1]


def test_grey_images_are_repeated_into_three_channels() -> None:
    grey = images(channels=1)
    expected = predict(build(**MOBILENET), grey.repeat(3, axis=-1))
    np.testing.assert_allclose(predict(build(channels=1, **MOBILENET), grey), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("changed", "edge", "message"),
    [
        ({"size": "tiny"}, 32, "'size' is 'tiny'; mobilenet_v3 comes in small, large"),
        ({"resolution": 16}, 32, "32 pixels or more, and would get 16x16"),
        ({}, 16, "32 pixels or more, and would get 16x16"),
    ],
)
def test_refuses_sizes_that_do_not_exist_or_fit(changed: dict[str, Any], edge: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(edge=edge, **{**MOBILENET, **changed})


def test_an_encoder_shows_what_strided_blocks_read(tmp_path: Path) -> None:
    network = backbones.small_mobilenet_v3(
        minimalistic=True, include_top=False, weights=None, input_shape=(64, 64, 3), name="any"
    )
    network.save_weights(tmp_path / "any.weights.h5")
    encoder = unet(tmp_path / "any.weights.h5", enlarge=2).get_layer("backbone")
    shown = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
    # the activations that the four strided blocks read, and the network's output
    strided = [layer.input for layer in network.layers if layer.name.endswith("depthwise_pad")]
    expected = keras.Model(network.input, [*strided, network.output])(shown)
    for ours, theirs in zip(encoder(shown), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_a_standardized_encoder_sees_neither_exposure_nor_contrast() -> None:
    model, x = unet(standardize=True), images(channels=1) / 2
    np.testing.assert_allclose(predict(model, x * 1.5 + 20), predict(model, x), atol=0.01)


def test_the_last_layers_are_trained_first() -> None:
    model = build(**MOBILENET)
    transfer.set_trainable_share(model, 0.5)
    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
    trained = [layer.trainable for layer in model.get_layer("backbone").layers if isinstance(layer, kinds)]
    assert trained == sorted(trained)
    assert 0.3 < np.mean(trained) < 0.7


def test_statistics_follow_quickly_where_nothing_was_pretrained(tmp_path: Path) -> None:
    network = backbones.small_mobilenet_v3(minimalistic=True, include_top=False, weights=None, input_shape=(32, 32, 3))
    network.save_weights(tmp_path / "any.weights.h5")
    for pretrained, momentum in ((None, 0.9), (tmp_path / "any.weights.h5", 0.999)):
        found = build(pretrained, **MOBILENET).get_layer("backbone").layers
        assert {layer.momentum for layer in found if isinstance(layer, keras.layers.BatchNormalization)} == {momentum}
