"""One contract for every architecture of the registry, and what each promises beyond it."""

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from terracyte import models
from terracyte.errors import InputError
from terracyte.models.problem import Problem
from terracyte.models.saving import read_model, write_model
from terracyte.params import Config

BLOOD = Problem(image_shape=(32, 32, 3), dense=False, class_shares=(0.25, 0.5, 0.25))
MARS = Problem(image_shape=(16, 32, 1), dense=True, class_shares=(0.4, 0.3, 0.2, 0.1))
# Keras 3.15 saves TensorFlow's variables through a protocol that NumPy 2 deprecates.

CASES = [("cnn", BLOOD), ("unet", MARS), ("majority", BLOOD), ("majority", MARS)]
NAMES = [f"{name}-{'masks' if problem.dense else 'labels'}" for name, problem in CASES]
each_case = pytest.mark.parametrize(("name", "problem"), CASES, ids=NAMES)


@pytest.fixture(autouse=True)
def seed() -> None:
    keras.utils.set_random_seed(0)


def config(name: str, **changed: Any) -> Config:
    plain = Config(architecture=name, width=4, depth=2, dropout=0.1, l1=0.0, l2=1e-4)
    return dataclasses.replace(plain, **changed)


def images(problem: Problem, size: int = 4) -> Any:
    return np.random.default_rng(0).integers(0, 256, (size, *problem.image_shape)).astype(np.float32)


def test_every_architecture_is_tried() -> None:
    assert {name for name, _ in CASES} == set(models.ARCHITECTURES)


@each_case
def test_maps_images_to_logits(name: str, problem: Problem) -> None:
    logits = models.build(config(name), problem).predict_on_batch(images(problem))
    expected = (4, *problem.image_shape[:2], 4) if problem.dense else (4, 3)
    assert logits.shape == expected
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()
    # log-shares or fresh logits: probabilities would be positive everywhere
    assert (logits < 0).any()


@each_case
def test_survives_saving(name: str, problem: Problem, tmp_path: Path) -> None:
    model = models.build(config(name, squeeze_excite=True), problem)
    write_model(tmp_path / "model.keras", model)
    again = read_model(tmp_path / "model.keras")
    x = images(problem)
    np.testing.assert_array_equal(again.predict_on_batch(x), model.predict_on_batch(x))


@each_case
def test_saves_the_same_bytes(name: str, problem: Problem, tmp_path: Path) -> None:
    contents = []
    for file in (tmp_path / "first.keras", tmp_path / "second.keras"):
        keras.utils.set_random_seed(0)
        write_model(file, models.build(config(name), problem))
        contents.append(file.read_bytes())
    assert contents[0] == contents[1]


@pytest.mark.parametrize(("name", "problem"), CASES[:2], ids=NAMES[:2])
@pytest.mark.parametrize("squeeze_excite", [False, True])
def test_a_step_trains_every_weight(name: str, problem: Problem, squeeze_excite: bool) -> None:
    model = models.build(config(name, squeeze_excite=squeeze_excite, dropout=0.0), problem)
    model.compile(
        keras.optimizers.Lion(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False
    )
    before = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
    targets = np.random.default_rng(1).integers(0, 3, (4, *problem.image_shape[:2]) if problem.dense else (4,))
    model.train_on_batch(images(problem), targets)
    for variable, old in zip(model.trainable_variables, before, strict=True):
        assert (keras.ops.convert_to_numpy(variable) != old).any(), variable.path


@each_case
def test_majority_has_nothing_to_train(name: str, problem: Problem) -> None:
    trainable = models.build(config(name), problem).trainable_variables
    assert (name == "majority") == (not trainable)


@pytest.mark.parametrize("problem", [BLOOD, MARS])
def test_majority_predicts_class_shares(problem: Problem) -> None:
    logits = models.build(config("majority"), problem).predict_on_batch(images(problem))
    expected = np.broadcast_to(problem.class_shares, logits.shape)
    np.testing.assert_allclose(np.exp(logits), expected, rtol=1e-5)


def test_majority_stays_finite_without_a_class() -> None:
    empty = Problem(image_shape=(16, 16, 1), dense=False, class_shares=(0.0, 1.0))
    assert np.isfinite(models.build(config("majority"), empty).predict_on_batch(images(empty))).all()


def test_unet_grows_with_width_and_depth() -> None:
    sizes = [models.build(config("unet", width=w, depth=d), MARS).count_params() for w, d in ((4, 2), (8, 2), (8, 3))]
    assert sizes == sorted(set(sizes))


def test_unet_sees_beyond_a_pixel() -> None:
    model = models.build(config("unet", depth=3), MARS)
    x = images(MARS, 1)
    changed = x.copy()
    changed[0, 0, 0, 0] = 255 - x[0, 0, 0, 0]
    moved = np.abs(model.predict_on_batch(x) - model.predict_on_batch(changed)).max(axis=-1)[0]
    assert moved[8, 8] > 0


@pytest.mark.parametrize(
    ("name", "problem", "changed", "message"),
    [
        ("cnn", MARS, {}, "choose unet"),
        ("unet", BLOOD, {}, "choose cnn"),
        ("unet", MARS, {"depth": 6}, "multiples of 32"),
        ("resnet", BLOOD, {}, "'resnet'; it must be one of cnn, majority, unet"),
    ],
)
def test_refuses_what_does_not_fit(name: str, problem: Problem, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        models.build(config(name, **changed), problem)


def test_reading_refuses_other_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is missing"):
        read_model(tmp_path / "model.keras")
    (tmp_path / "model.keras").write_bytes(b"no archive")
    with pytest.raises(InputError, match="cannot be read"):
        read_model(tmp_path / "model.keras")
