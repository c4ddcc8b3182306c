"""Fitting: repeatable, resumable after SIGKILL, and stopped early by the validation score."""

import contextlib
import dataclasses
import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from terracyte import params, tasks
from terracyte.core import paths
from terracyte.core.errors import InputError
from terracyte.models import inference, test_time_flips
from terracyte.params.variant import Config
from terracyte.tasks.task import Task
from terracyte.train import checkpoints, class_offsets, losses, optimizers, phases, validation
from terracyte.train import fit as fitting
from terracyte.train.batches import TrainingBatches, read_rows
from terracyte.train.checkpoints import Epoch
from terracyte.train.fit import Fitted, Fitting, OnEpoch, loss_weights
from terracyte.train.validation import Validation
from terracyte.train.weight_averaging import WeightAverage
from tests import backbones, balanced_project
from tests.conftest import Edit, copy_settings

STRONG: dict[str, Any] = {
    **{"flip": "both", "brightness": 0.1, "rotation": 0.1, "cutmix": 0.5, "dropout": 0.3},
    "epochs": 3,
}
PRETRAINED = "backbone.weights.h5"
TRANSFER: dict[str, Any] = {
    **{"architecture": "mobilenet_v3", "size": "small", "minimalistic": True, "head_epochs": 2, "epochs": 3},
    **{"weight_averaging": 0.9, "test_time_flips": True, "flip": "horizontal", "dropout": 0.3},
}
HALF_TRANSFER: dict[str, Any] = {**TRANSFER, "precision": "bfloat16"}
HEADLINES = {"blood-cnn": "accuracy", "mars-unet_final": "mean_iou"}
Fit = Callable[..., Fitted]


@pytest.fixture(scope="module", autouse=True)
def small_backbones() -> Iterator[None]:
    with backbones.small():
        yield


def make(variant: str, root: Path, on_epoch: OnEpoch, seed: int = 0, **changed: Any) -> Fitting:
    """Make a fitting in the working directory's project, with its checkpoint in `root`."""
    settings = params.load()
    task = tasks.make(settings.variants[variant].task, settings)
    return Fitting(
        label=variant,
        config=dataclasses.replace(settings.config(variant), **changed),
        training=read_rows(task, "train"),
        validation=read_rows(task, "validation"),
        pretrained=root.parent / PRETRAINED if changed.get("architecture") == "mobilenet_v3" else None,
        class_weights=[0.0 if task.background == 0 else 1.0, 1.0, 1.0, 1.0],
        seed=seed,
        checkpoint=root / "checkpoint",
        on_epoch=on_epoch,
    )


@dataclasses.dataclass(frozen=True)
class Finished:
    """A finished training that several tests look at.

    Attributes:
        folder: the project's folder; the checkpoint is in its sub-folder `a`.
        fitted: the result.
        seen: the epochs that were reported.
    """

    folder: Path
    fitted: Fitted
    seen: list[tuple[int, Epoch]]


def finish(folder: Path, variant: str, **changed: Any) -> Finished:
    seen: list[tuple[int, Epoch]] = []
    copy_settings(folder)
    with contextlib.chdir(folder):
        balanced_project.write(folder)
        fitted = make(variant, folder / "a", lambda n, values: seen.append((n, values)), **changed).run()
    return Finished(folder, fitted, seen)


@pytest.fixture(scope="module")
def finished_blood(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """blood-cnn after 3 epochs."""
    return finish(tmp_path_factory.mktemp("blood"), "blood-cnn", epochs=3)


@pytest.fixture(scope="module")
def finished_mars(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """mars-unet_1 after 2 epochs."""
    return finish(tmp_path_factory.mktemp("mars"), "mars-unet_1", epochs=2)


@pytest.fixture
def fit(project: Path) -> Fit:
    balanced_project.write(project)

    def run(variant: str, place: str = "a", seen: list[tuple[int, Epoch]] | None = None, **changed: Any) -> Fitted:
        epochs = [] if seen is None else seen
        return make(variant, project / place, lambda n, values: epochs.append((n, values)), **changed).run()

    return run


def assert_equal(first: Fitted, second: Fitted) -> None:
    assert first.history == second.history
    assert first.best_epoch == second.best_epoch
    for one, other in zip(first.model.get_weights(), second.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("variant", ["blood-cnn", "mars-unet_final"])
def test_learns(fit: Fit, variant: str) -> None:
    defaults = {field.name: field.default for field in dataclasses.fields(Config)}
    names = (
        "standardize",  # these classes differ in their brightness
        "flip",
        "rotation",
        "zoom",
        "brightness",
        "contrast",
        "saturation",
        "hue",
        "prime",
        "shading",
        "blur",
        "erasing",
        "input_dropout",
        "test_time_flips",
    )
    plain = {
        name: defaults[name]
        for name in (*names, "policy", "cutmix", "mixup", "weight_averaging", "optimizer", "test_time_flips")
    }
    fitted = fit(variant, epochs=25, patience=25, schedule="constant", dropout=0.0, label_smoothing=0.0, **plain)
    best = fitted.history[fitted.best_epoch - 1]
    assert fitted.history[-1]["loss"] < fitted.history[0]["loss"] / 2
    assert best[f"val_{HEADLINES[variant]}"] > 0.6

    # an offset that was added to a class is found and removed
    task = tasks.make(variant.split("-")[0], params.load())
    name, scored = f"val_{task.selection}", validation_of(task.name)
    class_offsets.add(fitted.model, np.array([0, 0, 0, 3], np.float32))
    spoilt = scored.scores(fitted.model)[name]
    class_offsets.add(fitted.model, scored.offsets(fitted.model))
    assert scored.scores(fitted.model)[name] > spoilt


def test_half_precision_trains_a_model_of_single_precision(fit: Fit) -> None:
    name, changed = "mars-unet_final", {"epochs": 2, "depth": 1}
    single, half = fit(name, "single", **changed), fit(name, "half", **changed, precision="bfloat16")
    assert {layer.dtype_policy.name for layer in half.model._flatten_layers()} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"
    # half precision was used, so weights differ, but only slightly
    weights = [np.concatenate([w.ravel() for w in fitted.model.get_weights()]) for fitted in (single, half)]
    difference, size = np.linalg.norm(weights[0] - weights[1]), np.linalg.norm(weights[0])
    assert 0 < difference < 0.1 * size


def test_another_seed_other_weights(fit: Fit, finished_blood: Finished) -> None:
    first, second = finished_blood.fitted, fit("blood-cnn", seed=1, epochs=3)
    assert any((a != b).any() for a, b in zip(first.model.get_weights(), second.model.get_weights(), strict=True))


def write_backbone(project: Path) -> None:
    keras.utils.set_random_seed(5)
    backbone().save_weights(project / PRETRAINED)


def backbone() -> keras.Model:
    return backbones.small_mobilenet_v3(input_shape=(32, 32, 3), minimalistic=True, include_top=False, weights=None)


def test_a_killed_training_goes_on_with_the_same_result(fit: Fit, project: Path) -> None:
    whole = fit("blood-cnn", "whole", **STRONG)
    script = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "from tests.train.test_fit import STRONG, make\n"
        "kill = lambda epoch, values: epoch == 2 and os.kill(os.getpid(), signal.SIGKILL)\n"
        "make('blood-cnn', Path('killed').absolute(), kill, **STRONG).run()\n"
    )
    root = str(Path(__file__).parents[2])
    killed = subprocess.run([sys.executable, "-c", script], cwd=project, env={**os.environ, "PYTHONPATH": root})
    assert killed.returncode == -signal.SIGKILL
    assert_goes_on(fit, project, whole, 1, STRONG)


def test_a_training_interrupted_in_its_second_phase_goes_on_with_the_same_result(fit: Fit, project: Path) -> None:
    write_backbone(project)

    def keep(epoch: int, values: Epoch) -> None:
        if epoch == 3:  # copy what an interruption would leave behind
            shutil.copytree(project / "whole", project / "killed")

    whole = make("blood-cnn", project / "whole", keep, **HALF_TRANSFER).run()
    assert {layer.dtype_policy.name for layer in whole.model._flatten_layers()} == {"float32"}
    assert_goes_on(fit, project, whole, 2, HALF_TRANSFER)


def assert_goes_on(fit: Fit, project: Path, whole: Fitted, kept: int, config: dict[str, Any]) -> None:
    """Check that the training in folder `killed`, of which epoch `kept` is left, resumes to the same result `whole`."""
    assert [state.name for state in (project / "killed/checkpoint").iterdir()] == [f"epoch_0000{kept}"]
    seen: list[tuple[int, Epoch]] = []
    assert_equal(fit("blood-cnn", "killed", seen, **config), whole)
    assert [epoch for epoch, _ in seen] == [1, 2, 3]


def test_the_head_is_trained_first_then_the_backbone(fit: Fit, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_backbone(project)
    # each epoch is better than the one before
    scores = itertools.count()
    monkeypatch.setattr(validation, "validate", lambda *_: (1.0, next(scores)))
    plain = {**TRANSFER, "weight_averaging": 0.0, "test_time_flips": False, "schedule": "constant", "epochs": 2}

    def trained(**changed: Any) -> list[Any]:
        place = "-".join(map(str, changed.values()))
        model = fit("blood-cnn", place, patience=9, **{**plain, **changed}).model
        return list(model.get_layer("backbone").get_weights())

    before = trained(epochs=1)
    start = backbone()
    start.load_weights(project / PRETRAINED)
    for kept, pretrained in zip(before, start.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, pretrained)
    tuned = trained(head_epochs=1, fine_tune_rate=1.0)
    assert sum((a != b).any() for a, b in zip(before, tuned, strict=True)) > len(tuned) / 6
    head_only = trained(fine_tune_depth=0.0, head_epochs=0)
    assert all((a == b).all() for a, b in zip(before, head_only, strict=True))


def test_a_finished_training_is_not_trained_again(fit: Fit, project: Path, finished_mars: Finished) -> None:
    shutil.copytree(finished_mars.folder / "a", project / "a")
    seen: list[tuple[int, Epoch]] = []
    assert_equal(fit("mars-unet_1", "a", seen, epochs=2), finished_mars.fitted)
    assert all("images_per_second" not in values for _, values in seen)


def test_only_the_newest_epoch_is_kept(finished_blood: Finished) -> None:
    checkpoint = finished_blood.folder / "a/checkpoint"
    assert [state.name for state in checkpoint.iterdir()] == ["epoch_00003"]
    assert checkpoints.finished_epochs(checkpoint) == 3
    assert checkpoints.finished_epochs(finished_blood.folder / "nothing") == 0
    assert checkpoints.restore(finished_blood.folder / "nothing", keras.Sequential(), None).history == []


def test_a_checkpoint_of_another_network_is_refused(fit: Fit, project: Path, finished_blood: Finished) -> None:
    shutil.copytree(finished_blood.folder / "a", project / "a")
    with pytest.raises(InputError, match="remove the folder to train from the start"):
        fit("blood-cnn", epochs=4, width=8)


def test_a_damaged_checkpoint_is_refused(fit: Fit, project: Path, finished_blood: Finished) -> None:
    shutil.copytree(finished_blood.folder / "a", project / "a")
    (project / "a/checkpoint/epoch_00003/state.npz").write_bytes(b"half of")
    with pytest.raises(InputError, match="is damaged"):
        fit("blood-cnn", epochs=4)


def test_stops_without_improvement_and_keeps_the_best(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([0.5, 0.7, 0.6, 0.7, 0.9])
    weights = []

    def validate(model: keras.Model, *_: object) -> tuple[float, float]:
        weights.append(model.get_weights())
        return 1.0, next(scores)

    monkeypatch.setattr(validation, "validate", validate)
    fitted = fit("mars-unet_1", epochs=9, patience=2)
    assert (fitted.best_epoch, len(fitted.history)) == (2, 4)
    for kept, best in zip(fitted.model.get_weights(), weights[1], strict=True):
        np.testing.assert_array_equal(kept, best)


def test_scores_are_those_of_the_model_as_it_is_used(fit: Fit) -> None:
    fitted = fit("mars-unet_final", epochs=2, depth=1, class_offsets=True)
    assert fitted.scores["val_loss"] != fitted.history[fitted.best_epoch - 1]["val_loss"]  # epochs go without flips
    found = validation_of("mars").scores(fitted.model)
    assert found["val_mean_iou"] == pytest.approx(fitted.scores["val_mean_iou"])


def test_scores_of_a_network_without_additions_are_those_of_its_best_epoch(fit: Fit) -> None:
    fitted = fit("mars-unet_1", epochs=2, weight_averaging=0.5)
    assert fitted.scores == pytest.approx(validation_of("mars").scores(fitted.model), rel=1e-5)


def validation_of(task: str) -> Validation:
    rows = read_rows(tasks.make(task, params.load()), "validation")
    return Validation(losses.WeightedCrossEntropy([1.0] * 4), rows, batch_size=4)


def test_tasks_with_corruptions_are_chosen_by_the_mean_with_shift(finished_blood: Finished) -> None:
    for epoch in finished_blood.fitted.history:
        assert epoch["val_robust_accuracy"] == (epoch["val_accuracy"] + epoch["val_shift_accuracy"]) / 2


def test_masks_are_scored_under_shift_as_they_are(edit: Edit, project: Path) -> None:
    """The network tells each pixel's class by its grey level, which darkening moves to the class below."""
    balanced_project.write(project)
    edit("tasks.mars.corruptions", ["brightness_down"])
    images = keras.Input((32, 32, 1))
    network = keras.Model(images, keras.layers.Conv2D(4, 1, name="logits")(images))
    # logit k is greatest near c = 60 k + 10: it is -(x - c)² without the term -x², equal for all k
    centres = 60.0 * np.arange(4) + 10
    network.get_layer("logits").set_weights([2 * centres[None, None, None], -(centres**2)])
    scored = validation_of("mars")
    scores = scored.scores(network)
    assert scores["val_mean_iou"] == 1
    assert scored.shifted is not None
    seen = np.clip(np.ceil((scored.shifted.images[..., 0] - 40.0) / 60), 1, 3)  # background is never predicted
    truth = scored.rows.targets
    ious = [((seen == k) & (truth == k)).sum() / (((seen == k) | (truth == k)) & (truth > 0)).sum() for k in (1, 2, 3)]
    assert 0 < scores["val_shift_mean_iou"] < 1
    assert scores["val_shift_mean_iou"] == pytest.approx(np.mean(ious))
    assert scores["val_robust_mean_iou"] == (1 + scores["val_shift_mean_iou"]) / 2


def test_reports_each_epoch(finished_mars: Finished) -> None:
    names = {"loss", "val_loss", "val_mean_iou", "learning_rate"}
    assert [epoch for epoch, _ in finished_mars.seen] == [1, 2]
    assert set(finished_mars.seen[0][1]) == names | {"images_per_second"}
    assert set(finished_mars.fitted.history[0]) == names


def test_divergence_is_told_in_one_line(fit: Fit) -> None:
    with pytest.raises(InputError, match=r"blood-cnn: the loss of epoch 1 is not finite .* learning_rate 1e\+20:"):
        fit("blood-cnn", learning_rate=1e20, optimizer="adamw", schedule="constant", epochs=2)


def test_majority_passes_through(fit: Fit) -> None:
    fitted = fit("blood-baseline")
    assert fitted.history[0]["val_accuracy"] == pytest.approx(0.25)
    assert fitted.history[0]["val_loss"] == pytest.approx(np.log(4))
    assert len(fitted.history) == 1


def test_loss_weights(project: Path) -> None:
    balanced_project.write(project)
    settings = params.load()
    config, mars, blood = settings.config("mars-unet_1"), tasks.make("mars", settings), tasks.make("blood", settings)

    def weights(task: Task, **changed: Any) -> list[float]:
        return loss_weights(dataclasses.replace(config, **changed), task, [0, 0.5, 1, 1.5])

    assert weights(mars, class_weights=False, ignore_background=False) == [1, 1, 1, 1]
    assert weights(mars, class_weights=True, ignore_background=False) == [1, 0.5, 1, 1.5]
    assert weights(mars, class_weights=False, ignore_background=True) == [0, 1, 1, 1]
    assert weights(mars, class_weights=True, ignore_background=True) == [0, 0.5, 1, 1.5]
    assert weights(blood, class_weights=True, ignore_background=False) == [0, 0.5, 1, 1.5]


def test_cosine_rises_and_falls(project: Path) -> None:
    config = dataclasses.replace(params.load().config("mars-unet_1"), warmup=0.2)
    schedule = optimizers.make(config, peak=1.0, steps=100)._learning_rate
    rates = [float(ops.convert_to_numpy(schedule(step))) for step in (0, 10, 20, 60, 100)]
    np.testing.assert_allclose(rates, [0, 0.5, 1, 0.505, 0.01], atol=1e-6)


def test_biases_and_normalisations_do_not_decay(project: Path) -> None:
    config = dataclasses.replace(params.load().config("blood-cnn"), weight_decay=0.1, schedule="constant")
    dense = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name="d"), keras.layers.BatchNormalization()])
    chosen = optimizers.make(config, peak=0.1, steps=1)
    chosen.build(dense.trainable_variables)
    for variable in dense.trainable_variables:
        variable.assign(ops.ones_like(variable))
    chosen.apply([ops.zeros_like(variable) for variable in dense.trainable_variables])
    left = {v.name: float(ops.max(v)) for v in dense.trainable_variables}
    assert left == {"kernel": pytest.approx(0.99), "bias": 1.0, "gamma": 1.0, "beta": 1.0}


def test_predicts_chosen_images_in_order(finished_mars: Finished) -> None:
    model, ids = finished_mars.fitted.model, np.arange(9, 4, -1)
    images = np.load(finished_mars.folder / paths.images("mars"))
    parts = list(inference.predict(model, images, ids, batch_size=2))
    assert [len(part) for part in parts] == [2, 2, 1]
    whole = next(inference.predict(model, images, ids, batch_size=5))
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-4, atol=1e-5)


def test_the_average_forgets_its_beginning_and_is_what_is_kept() -> None:
    layer = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    average = WeightAverage(layer, decay=0.5)
    average.set_model(layer)
    layer.set_weights([np.ones((1, 1))])
    average.on_train_batch_end(0)
    assert average.weights[0].item() == pytest.approx(0.9)  # 1 - 1 / 10
    average.steps = 102
    layer.set_weights([np.zeros((1, 1))])
    average.on_train_batch_end(1)
    assert average.weights[0].item() == pytest.approx(0.9)  # unchanged: the next update is after step 104
    average.on_train_batch_end(2)
    assert average.weights[0].item() == pytest.approx(0.9 * 0.5**8, rel=1e-4)
    with average.applied():
        assert layer.get_weights()[0].item() == pytest.approx(0.9 * 0.5**8, rel=1e-4)
    assert layer.get_weights()[0].item() == 0


@pytest.mark.parametrize(
    ("changed", "pretrained", "expected"),
    [
        ({"head_epochs": 2}, True, [(1, 2, 1.0, 0.0), (3, 6, 0.1, 0.5)]),
        ({"head_epochs": 2}, False, [(1, 6, 1.0, None)]),
        ({"head_epochs": 0}, True, [(1, 6, 1.0, 1.0)]),
        ({"head_epochs": 2, "fine_tune_depth": 0.0}, True, [(1, 6, 1.0, 0.0)]),
        ({"head_epochs": 9}, True, [(1, 6, 1.0, 0.0)]),
    ],
)
def test_phases(project: Path, changed: dict[str, Any], pretrained: bool, expected: list[Any]) -> None:
    base = params.load().config("blood-cnn")
    fixed = {"epochs": 6, "learning_rate": 1.0, "fine_tune_rate": 0.1, "fine_tune_depth": 0.5}
    plan = phases.plan(dataclasses.replace(base, **{**fixed, **changed}), pretrained)
    assert [(phase.first, phase.last, phase.rate, phase.share) for phase in plan] == expected


def test_the_schedule_spans_all_epochs(finished_blood: Finished) -> None:
    rates = [epoch["learning_rate"] for epoch in finished_blood.fitted.history]
    # half a cosine, down to a hundredth: the rates after a third, two thirds and all of the steps
    assert rates[-1] == pytest.approx(5e-3 * 0.01, rel=1e-3)
    assert rates[0] > 5e-3 * 0.7 > 5e-3 * 0.3 > rates[1]


def test_the_last_phase_has_its_own_rate_and_its_own_patience(
    fit: Fit, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_backbone(project)
    scores = iter([0.9, *[0.1] * 9])
    monkeypatch.setattr(validation, "validate", lambda *_: (1.0, next(scores)))
    monkeypatch.setattr("terracyte.images.shift.copies.validation_copy", lambda images, ids, names: images[ids])
    plain = {**TRANSFER, "weight_averaging": 0.0, "test_time_flips": False, "schedule": "constant"}
    changed = {"head_epochs": 2, "epochs": 9, "patience": 2, "learning_rate": 0.01, "fine_tune_rate": 0.1}
    fitted = fit("blood-cnn", **{**plain, **changed})
    rates = [epoch["learning_rate"] for epoch in fitted.history]
    assert rates == pytest.approx([0.01, 0.01, 0.001, 0.001])
    assert fitted.best_epoch == 1


def test_seed_and_flips_are_those_of_the_training(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []

    def averaged(network: keras.Model, flip: str) -> keras.Model:
        told.append(flip)
        return network

    monkeypatch.setattr(fitting, "make_repeatable", told.append)
    monkeypatch.setattr(test_time_flips, "averaged", averaged)
    fit("blood-baseline", seed=7, test_time_flips=True, flip="both")
    assert told == [7, "both"]


def test_the_batches_are_those_of_the_seed(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: set[int] = set()

    class Heard(TrainingBatches):
        def __init__(self, rows: Any, config: Any, seed: int, epoch: int) -> None:
            seeds.add(seed)
            super().__init__(rows, config, seed, epoch)

    monkeypatch.setattr(fitting, "TrainingBatches", Heard)
    fit("blood-cnn", seed=7, epochs=1)
    assert seeds == {7}


def test_the_optimizer_is_the_one_that_is_asked_for(project: Path) -> None:
    base = dataclasses.replace(params.load().config("blood-cnn"), beta_1=0.8, beta_2=0.95, schedule="constant")
    adamw = dataclasses.replace(base, optimizer="adamw")
    for settled, kind in ((base, keras.optimizers.Lion), (adamw, keras.optimizers.AdamW)):
        chosen = optimizers.make(settled, peak=0.1, steps=1)
        assert type(chosen) is kind
        assert (chosen.beta_1, chosen.beta_2) == (0.8, 0.95)


def test_offsets_count_clean_and_shifted_images_alike(
    finished_blood: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[float] = []
    monkeypatch.setattr(class_offsets, "fit", lambda score, *_: heard.append(score(np.zeros(4, np.float32))))
    monkeypatch.chdir(finished_blood.folder)
    shown = validation_of("blood")
    monkeypatch.setattr(validation, "_headline", lambda rows, *_: 0.2 if rows is shown.rows else 0.8)
    shown.offsets(finished_blood.fitted.model)
    assert heard == [0.5]
