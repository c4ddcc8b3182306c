"""The contract that every architecture of the registry keeps, and the further promises of some of them."""

import dataclasses
import functools
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from terracyte import models
from terracyte.core.errors import InputError
from terracyte.models import ensemble, precision
from terracyte.models.problem import Problem
from terracyte.models.serialization import read_model, write_model
from terracyte.models.test_time_flips import averaged
from terracyte.params.variant import Config
from tests import backbones

BLOOD = Problem(image_shape=(32, 32, 3), dense=False, class_shares=(0.25, 0.5, 0.25))
MARS = Problem(image_shape=(16, 32, 1), dense=True, class_shares=(0.4, 0.3, 0.2, 0.1))
BLOOD_MASKS = dataclasses.replace(BLOOD, dense=True)


def config(name: Any, **changed: Any) -> Config:
    plain = Config(architecture=name, width=4, depth=2, dropout=0.1, l1=0.0, l2=1e-4)
    return dataclasses.replace(plain, **changed)


CASES = {
    "cnn": (config("cnn"), BLOOD),
    "cnn-squeeze_excite": (config("cnn", squeeze_excite=True), BLOOD),
    "convnext": (config("convnext", size="tiny"), BLOOD),
    "efficientnet_lite": (config("efficientnet_lite", size="lite0"), BLOOD),
    "majority-labels": (config("majority"), BLOOD),
    "majority-masks": (config("majority"), MARS),
    "mobilenet_v3": (config("mobilenet_v3", size="small"), BLOOD),
    "mobilenet_v3-minimalistic": (config("mobilenet_v3", size="small", minimalistic=True, resolution=48), BLOOD),
    "unet": (config("unet"), MARS),
    "unet-squeeze_excite": (config("unet", squeeze_excite=True), MARS),
    "unet-residual": (config("unet", residual=True), MARS),
    "unet-attention": (config("unet", attention=True), MARS),
    "unet-patches": (config("unet", patch=2), MARS),
    "unet-standardized": (config("unet", standardize=True), MARS),
    "unet-added": (config("unet", standardize=True, raw_brightness=True, joined="add"), MARS),
    "cnn-standardized": (config("cnn", standardize=True), BLOOD),
    "unet-mobilenet_v3": (config("unet", encoder="mobilenet_v3", size="small", enlarge=2), MARS),
    "unet-efficientnet_lite": (
        config("unet", encoder="efficientnet_lite", size="lite0", enlarge=4, attention=True, standardize=True),
        MARS,
    ),
    "unet-not_enlarged": (config("unet", encoder="mobilenet_v3", size="small"), BLOOD_MASKS),
    "unet-all": (config("unet", residual=True, attention=True, squeeze_excite=True, patch=4), MARS),
}
each_case = pytest.mark.parametrize("case", CASES)
each_trained = pytest.mark.parametrize("case", [name for name in CASES if not name.startswith("majority")])
Turn = Callable[[Any], Any]
FLIPPED = [("cnn", "horizontal", 2), ("cnn", "both", 8), ("unet-all", "horizontal", 2), ("unet-all", "both", 4)]
each_flip = pytest.mark.parametrize(("case", "flip", "mirrors"), FLIPPED)


@pytest.fixture(autouse=True)
def seed() -> None:
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="module", autouse=True)
def small_backbones() -> Iterator[None]:
    with backbones.small():
        yield


def fresh(case: str) -> keras.Model:
    keras.utils.set_random_seed(0)
    return models.build(*CASES[case])


@functools.cache
def shared(case: str) -> keras.Model:
    """Return a model that tests share: none may leave it changed."""
    return fresh(case)


@functools.cache
def saved(case: str) -> bytes:
    """Return the bytes of the file of `shared(case)`."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.keras"
        write_model(file, shared(case))
        return file.read_bytes()


def images(problem: Problem, size: int = 4) -> Any:
    return np.random.default_rng(0).integers(0, 256, (size, *problem.image_shape)).astype(np.float32)


def predict(model: keras.Model, x: Any) -> Any:
    # called eagerly: compiling takes seconds per model
    return keras.ops.convert_to_numpy(model(x, training=False))


def test_every_architecture_is_tried() -> None:
    assert {chosen.architecture for chosen, _ in CASES.values()} == set(models.ARCHITECTURES)


@each_case
def test_maps_images_to_logits(case: str) -> None:
    problem = CASES[case][1]
    logits = predict(shared(case), images(problem))
    expected = (4, *(problem.image_shape[:2] if problem.dense else ()), problem.classes)
    assert logits.shape == expected
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()
    # logits or logarithms of class shares: probabilities would never be negative
    assert (logits < 0).any()


@each_case
def test_half_precision_is_nearly_the_same_network(case: str) -> None:
    with precision.computing_in("bfloat16"):
        half = fresh(case)
    assert {variable.dtype for variable in half.trainable_variables} <= {"float32"}
    logits, expected = (predict(model, images(CASES[case][1])) for model in (half, shared(case)))
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, atol=0.05 * np.abs(expected).max())
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize(("flags", "slow"), [("avx2 amx_bf16 amx_tile", False), ("avx2 avx512_bf16", True)])
def test_imitated_arithmetic_is_noticed(tmp_path: Path, monkeypatch: Any, flags: str, slow: bool) -> None:
    (tmp_path / "cpuinfo").write_text(f"flags\t\t: {flags}\n")
    monkeypatch.setattr(precision, "_CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["cpu:0"])
    assert precision.is_slow_here("bfloat16") == slow
    assert not precision.is_slow_here("float32")


@each_case
def test_survives_saving(case: str, tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_bytes(saved(case))
    again = read_model(tmp_path / "model.keras")
    x = images(CASES[case][1])
    np.testing.assert_array_equal(predict(again, x), predict(shared(case), x))


@each_case
def test_saves_the_same_bytes(case: str, tmp_path: Path) -> None:
    write_model(tmp_path / "model.keras", fresh(case))
    assert (tmp_path / "model.keras").read_bytes() == saved(case)


@each_trained
def test_a_step_trains_every_weight(case: str) -> None:
    problem, network = CASES[case][1], shared(case)
    model = keras.Model(network.input, network.output)  # shares the layers of `network`, which are not built again
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Lion(1e-3), loss, run_eagerly=True)
    before = [keras.ops.convert_to_numpy(variable) for variable in model.variables]
    targets = np.random.default_rng(1).integers(0, 3, (4, *problem.image_shape[:2]) if problem.dense else (4,))
    model.train_on_batch(images(problem), targets)
    trainable = {id(variable) for variable in model.trainable_variables}
    for variable, old in zip(network.variables, before, strict=True):
        changed = (keras.ops.convert_to_numpy(variable) != old).any()
        variable.assign(old)
        assert changed or id(variable) not in trainable, variable.path


@each_case
def test_majority_has_nothing_to_train(case: str) -> None:
    assert case.startswith("majority") == (not shared(case).trainable_variables)


@pytest.mark.parametrize("problem", [BLOOD, MARS])
def test_majority_predicts_class_shares(problem: Problem) -> None:
    logits = predict(models.build(config("majority"), problem), images(problem))
    expected = np.broadcast_to(problem.class_shares, logits.shape)
    np.testing.assert_allclose(np.exp(logits), expected, rtol=1e-5)


def test_majority_stays_finite_without_a_class() -> None:
    empty = Problem(image_shape=(16, 16, 1), dense=False, class_shares=(0.0, 1.0))
    assert np.isfinite(predict(models.build(config("majority"), empty), images(empty))).all()


def test_unet_grows_with_width_and_depth() -> None:
    sizes = [models.build(config("unet", width=w, depth=d), MARS).count_params() for w, d in ((4, 2), (8, 2), (8, 3))]
    assert sizes == sorted(set(sizes))


def test_unet_sees_beyond_a_pixel() -> None:
    model = models.build(config("unet", depth=3), MARS)
    x = images(MARS, 1)
    changed = x.copy()
    changed[0, 0, 0, 0] = 255 - x[0, 0, 0, 0]
    moved = np.abs(predict(model, x) - predict(model, changed)).max(axis=-1)[0]
    assert moved[8, 8] > 0


def test_a_closed_gate_keeps_the_shortcut_out() -> None:
    model = models.build(config("unet", attention=True), MARS)
    gate = model.get_layer("decoder_0_gate_sigmoid")
    kernel, bias = gate.get_weights()
    gate.set_weights([kernel, np.full_like(bias, -1e3)])
    through = keras.Model(model.input, model.get_layer("decoder_0_gate_scale").output)
    assert (predict(through, images(MARS)) == 0).all()
    gate.set_weights([kernel, np.full_like(bias, 1e3)])
    encoder = keras.Model(model.input, model.get_layer("encoder_0_2_relu").output)
    np.testing.assert_array_equal(predict(through, images(MARS)), predict(encoder, images(MARS)))


def wide(x: Any) -> Any:
    return x[:, :, ::-1]


def high(x: Any) -> Any:
    return x[:, ::-1]


def symmetries(mirrors: int) -> list[Turn]:
    """Return the symmetries as functions; each of the first four is its own inverse."""
    four: list[Turn] = [np.copy, wide, high, lambda x: wide(high(x))]
    quarter = functools.partial(np.rot90, axes=(1, 2))
    eight: list[Turn] = [*four, *(lambda x, turn=turn: quarter(turn(x)) for turn in four)]
    return eight[:mirrors]


@each_flip
def test_flips_average_logits_turned_back(case: str, flip: Any, mirrors: int) -> None:
    model, problem = shared(case), CASES[case][1]
    mean = averaged(model, flip)
    x, turns = images(problem), symmetries(mirrors)
    logits = [predict(model, np.ascontiguousarray(turn(x))) for turn in turns]
    turned = [turn(y) if problem.dense else y for turn, y in zip(turns, logits, strict=True)]
    assert np.ptp(turned, axis=0).max() > 1e-3
    np.testing.assert_allclose(predict(mean, x), np.mean(turned, axis=0), atol=1e-4)


def test_only_square_images_are_transposed() -> None:
    model = models.build(config("cnn"), dataclasses.replace(BLOOD, image_shape=(32, 64, 3)))
    assert len(averaged(model, "both").get_layer("mean").input) == 4


def test_raw_brightness_beside_standardized_images_shows_the_exposure() -> None:
    x = images(MARS) / 2
    assert not np.allclose(predict(shared("unet-added"), x), predict(shared("unet-added"), x + 40), atol=0.01)


@pytest.mark.parametrize("case", ["cnn-standardized", "unet-standardized"])
def test_standardized_models_see_neither_exposure_nor_contrast(case: str) -> None:
    x = images(CASES[case][1]) / 2
    np.testing.assert_allclose(predict(shared(case), x * 1.5 + 20), predict(shared(case), x), atol=0.01)
    assert np.isfinite(predict(shared(case), np.zeros_like(x))).all()


def test_patches_become_pixels_where_they_belong() -> None:
    model = models.build(config("unet", patch=2), MARS)
    head = keras.Model(model.get_layer("logits").output, model.output)
    channels = np.arange(16, dtype=np.float32).reshape(2, 2, 4)  # axes: row and column within the patch, class
    shown = predict(head, np.broadcast_to(channels.ravel(), (1, 8, 16, 16)))
    np.testing.assert_array_equal(shown[0], np.tile(channels, (8, 16, 1)))


def test_an_ensemble_averages_logits(tmp_path: Path) -> None:
    members = [models.build(config("unet"), MARS) for _ in range(3)]
    x = images(MARS)
    expected = np.mean([predict(member, x) for member in members], axis=0)
    write_model(tmp_path / "ensemble.keras", ensemble.averaged(members))
    read = read_model(tmp_path / "ensemble.keras")
    np.testing.assert_allclose(predict(read, x), expected, atol=1e-5)
    for member, given in zip(ensemble.members(read), members, strict=True):
        np.testing.assert_allclose(predict(member, x), predict(given, x), atol=1e-6)
    assert ensemble.averaged(members[:1]) is members[0]


def test_no_flip_is_the_model_itself() -> None:
    model = models.build(config("cnn"), BLOOD)
    assert averaged(model, "none") is model


@pytest.mark.parametrize("case", ["cnn", "unet-all"])
def test_flipped_models_save_the_same_bytes(case: str, tmp_path: Path) -> None:
    contents = []
    for file, model in ((tmp_path / "first.keras", shared(case)), (tmp_path / "second.keras", fresh(case))):
        write_model(file, averaged(model, "both"))
        contents.append(file.read_bytes())
    assert contents[0] == contents[1]


def test_saved_models_need_keras_alone(tmp_path: Path) -> None:
    cases = {
        "cnn": averaged(shared("cnn"), "both"),
        "unet-all": averaged(shared("unet-all"), "both"),
        "convnext": shared("convnext"),
        "mobilenet_v3": shared("mobilenet_v3"),
    }
    expected = {}
    for case, model in cases.items():
        shown = images(CASES[case][1])
        write_model(tmp_path / f"{case}.keras", model)
        np.save(tmp_path / f"{case}_images.npy", shown)
        expected[case] = predict(model, shown)
    script = (
        "import sys\n"
        "sys.modules |= dict.fromkeys(('matplotlib', 'pandas', 'scipy', 'sklearn', 'terracyte'))\n"
        "import keras, numpy\n"
        f"for case in {tuple(cases)}:\n"
        "    model = keras.saving.load_model(f'{case}.keras', safe_mode=True)\n"
        "    numpy.save(case, model(numpy.load(f'{case}_images.npy')))\n"
    )
    subprocess.run([sys.executable, "-I", "-c", script], cwd=tmp_path, check=True, capture_output=True)
    for case, logits in expected.items():
        np.testing.assert_array_equal(np.load(tmp_path / f"{case}.npy"), logits)


@pytest.mark.parametrize(
    ("name", "problem", "changed", "message"),
    [
        ("cnn", MARS, {}, "choose unet"),
        ("unet", BLOOD, {}, "choose cnn"),
        ("mobilenet_v3", MARS, {"size": "small"}, "needs a task with labels"),
        ("unet", MARS, {"depth": 6}, "multiples of 32"),
        ("unet", MARS, {"depth": 4, "patch": 4}, "'depth' is 4 and 'patch' 4, .* multiples of 32"),
        ("unet", MARS, {"encoder": "mobilenet_v3"}, "'enlarge' 1 the images are 16x32 .*: change 'enlarge'"),
        ("unet", MARS, {"encoder": "efficientnet_lite", "enlarge": 2}, "efficientnet_lite comes in lite0, lite2"),
        (
            "resnet",
            BLOOD,
            {},
            "'resnet'; it must be one of cnn, convnext, efficientnet_lite, majority",
        ),
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


@pytest.mark.parametrize("case", ["cnn", "mobilenet_v3", "unet"])
def test_input_dropout_hides_values_in_training_only(case: str) -> None:
    of, problem = CASES[case]
    keras.utils.set_random_seed(0)
    dropping = models.build(dataclasses.replace(of, input_dropout=0.5), problem)
    dropping.set_weights(shared(case).get_weights())
    shown = images(problem)
    np.testing.assert_array_equal(dropping(shown), shared(case)(shown))
    layer = dropping.get_layer("input_dropout")
    hidden = np.asarray(layer(np.ones((1, 100, 100, 1), np.float32), training=True))
    assert set(np.unique(hidden)) == {0.0, 2.0}
    assert np.mean(hidden == 0) == pytest.approx(0.5, abs=0.03)


def between(model: keras.Model, *names: str) -> list[Any]:
    """Return the outputs of these layers for the images of the model's problem."""
    shown = images(MARS if len(model.output_shape) == 4 else BLOOD)
    found = keras.Model(model.input, [model.get_layer(name).output for name in names])(shown, training=False)
    return [keras.ops.convert_to_numpy(each) for each in keras.tree.flatten(found)]


@pytest.mark.parametrize(("case", "joined"), [("unet", "concatenate"), ("unet-added", "add")])
def test_the_decoder_joins_what_it_has_with_the_encoder_s(case: str, joined: str) -> None:
    layers = ("decoder_0_upsampling", "encoder_0_2_relu", "decoder_0_shortcut")
    own, shortcut, found = between(shared(case), *layers)
    np.testing.assert_array_equal(
        found, np.concatenate([own, shortcut], -1) if joined == "concatenate" else own + shortcut
    )


@pytest.mark.parametrize(("case", "block"), [("unet-squeeze_excite", "encoder_0"), ("cnn-squeeze_excite", "stage_0")])
def test_channels_whose_gate_is_closed_say_nothing(case: str, block: str) -> None:
    model = fresh(case)
    gate = model.get_layer(f"{block}_excite_2")
    kernel, bias = gate.get_weights()
    gate.set_weights([np.zeros_like(kernel), np.where(np.arange(len(bias)) == 1, 1e3, -1e3)])
    if case == "cnn-squeeze_excite":  # the block's shortcut bypasses the gates
        before, after = between(model, "stem_pooling", "stage_0_add")
        passed = after - before
    else:
        (passed,) = between(model, f"{block}_pooling")
    assert (passed != 0).any(axis=(0, 1, 2)).tolist() == [False, True, False, False]


@pytest.mark.parametrize("case", ["unet", "unet-residual", "cnn"])
def test_there_are_gates_only_where_they_are_asked_for(case: str) -> None:
    assert not [layer.name for layer in shared(case).layers if "excite" in layer.name]


def test_stages_of_a_cnn_halve_the_resolution_and_double_the_filters() -> None:
    found = between(models.build(config("cnn", depth=3), BLOOD), *(f"stage_{n}_relu" for n in range(3)))
    assert [each.shape[1:] for each in found] == [(8, 8, 4), (4, 4, 8), (2, 2, 16)]


@pytest.mark.parametrize(
    ("case", "mean", "deviation"),
    [("mobilenet_v3", None, None), ("unet-mobilenet_v3", None, None), ("unet-efficientnet_lite", 114.5, 57.4)],
)
def test_a_backbone_sees_grey_values(case: str, mean: float | None, deviation: float) -> None:
    (seen,) = between(shared(case), "grey_values")
    if mean is None:
        np.testing.assert_allclose(seen, images(CASES[case][1]), atol=1e-3)
    else:  # the mean and deviation of ImageNet
        np.testing.assert_allclose(seen.mean(axis=(1, 2, 3)), mean, atol=0.1)
        np.testing.assert_allclose(seen.std(axis=(1, 2, 3)), deviation, atol=0.1)


@pytest.mark.parametrize("case", ["cnn", "mobilenet_v3", "unet"])
def test_each_rate_of_dropout_is_its_own(case: str) -> None:
    of, problem = CASES[case]
    model = models.build(dataclasses.replace(of, dropout=0.3, input_dropout=0.2), problem)
    assert (model.get_layer("dropout").rate, model.get_layer("input_dropout").rate) == (0.3, 0.2)


@pytest.mark.parametrize("case", ["cnn", "unet-attention", "mobilenet_v3"])
def test_penalties_are_of_all_kernels_but_a_backbone_s(case: str) -> None:
    of, problem = CASES[case]
    model = models.build(dataclasses.replace(of, l1=0.01, l2=0.1), problem)
    kernels = [keras.ops.convert_to_numpy(layer.kernel) for layer in model.layers if hasattr(layer, "kernel")]
    expected = sum(0.01 * np.abs(kernel).sum() + 0.1 * (kernel**2).sum() for kernel in kernels)
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-4)
