"""Backbones of Keras' applications: form, freezing, serialisation, and the same function as Keras' own."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from terracyte import models, params
from terracyte.core.errors import InputError
from terracyte.models import transfer
from terracyte.models.problem import Problem
from terracyte.models.serialization import write_model
from terracyte.params.variant import Config

SMALL: dict[str, Any] = {"architecture": "mobilenet_v3", "size": "small", "minimalistic": True}
TINY: dict[str, Any] = {"architecture": "convnext", "size": "tiny"}


def config(**changed: Any) -> Config:
    base = params.load().config("blood-cnn")
    return dataclasses.replace(base, **{"resolution": 0, **changed})


def build(pretrained: Path | None = None, edge: int = 32, channels: int = 3, **changed: Any) -> keras.Model:
    shape = (edge, edge, channels)
    problem = Problem(image_shape=shape, dense=False, class_shares=(0.25,) * 4, pretrained=pretrained)
    keras.utils.set_random_seed(0)
    return models.build(config(**changed), problem)


def pictures(edge: int = 32, channels: int = 3) -> Any:
    return np.random.default_rng(0).uniform(0, 255, (2, edge, edge, channels)).astype(np.float32)


def test_convnext_computes_what_keras_own_does(project: Path) -> None:
    network = keras.applications.ConvNeXtTiny(include_top=False, weights=None, input_shape=(32, 32, 3), pooling="avg")
    random = np.random.default_rng(0)
    network.set_weights([random.normal(0, 0.05, weights.shape) for weights in network.get_weights()])
    network.save_weights("any.weights.h5")
    ours = build(Path("any.weights.h5"), **TINY).get_layer("backbone")
    images = pictures()
    np.testing.assert_allclose(ours.predict_on_batch(images), network.predict_on_batch(images), atol=1e-5)


@pytest.mark.parametrize("kind", [SMALL, TINY])
def test_saves_the_same_bytes_and_loads_elsewhere(project: Path, kind: dict[str, Any]) -> None:
    model = build(resolution=64, **kind)
    write_model(Path("one.keras"), model)
    write_model(Path("other.keras"), build(resolution=64, **kind))
    assert Path("one.keras").read_bytes() == Path("other.keras").read_bytes()
    np.save("images.npy", pictures())
    np.save("logits.npy", model.predict_on_batch(pictures()))
    script = (
        "import keras, numpy as np\n"
        "model = keras.saving.load_model('one.keras', compile=False, safe_mode=True)\n"
        "np.testing.assert_allclose(model.predict_on_batch(np.load('images.npy')), np.load('logits.npy'), atol=1e-5)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_pretrained_normalisation_keeps_its_statistics(project: Path) -> None:
    for freeze, moves in ((True, False), (False, True)):
        model = build(**SMALL)
        if freeze:
            transfer.train_share(model, 1.0)
        statistics = model.non_trainable_weights
        before = model.get_weights()
        model.compile("adam", "mse")
        model.train_on_batch(pictures(), np.zeros((2, 4)))
        changed = [(a != b).any() for a, b in zip(before, model.get_weights(), strict=True)]
        of_statistics = [
            c for c, v in zip(changed, model.weights, strict=True) if any(v is each for each in statistics)
        ]
        assert any(of_statistics) == moves


def test_trains_a_share_of_the_backbone_up_and_down(project: Path) -> None:
    model = build(**SMALL)
    counts = []
    for share in (0.0, 0.5, 1.0, 0.5, 0.0):
        transfer.train_share(model, share)
        counts.append(len(model.trainable_variables))
    assert counts[0] == 2  # the head's kernel and bias
    assert counts[0] < counts[1] < counts[2]
    assert counts == counts[::-1]


def test_grey_images_are_shown_as_colours(project: Path) -> None:
    grey = pictures(channels=1)
    assert build(channels=1, **SMALL).predict_on_batch(grey) == pytest.approx(
        build(**SMALL).predict_on_batch(grey.repeat(3, axis=-1)), abs=1e-5
    )


@pytest.mark.parametrize(
    ("changed", "edge", "message"),
    [
        ({"size": "tiny"}, 32, "'size' is 'tiny'; mobilenet_v3 comes in small, large"),
        ({"resolution": 16}, 32, "32 pixels or more, and would get 16x16"),
        ({}, 16, "32 pixels or more, and would get 16x16"),
    ],
)
def test_what_cannot_be_is_one_line(project: Path, changed: dict[str, Any], edge: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(edge=edge, **{**SMALL, **changed})


def test_masks_are_refused(project: Path) -> None:
    problem = Problem(image_shape=(32, 32, 1), dense=True, class_shares=(0.5, 0.5))
    with pytest.raises(InputError, match="needs a task with labels"):
        models.build(config(**SMALL), problem)
