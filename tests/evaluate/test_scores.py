"""Scores of made-up predictions, whose correct values are known, and the stage with a real, tiny model."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages import evaluate as stage
from terracyte import params, tasks
from terracyte.core import files, metric_files, paths
from terracyte.core.errors import InputError
from terracyte.evaluate import confusions, predictions
from terracyte.evaluate import scores as evaluation
from terracyte.images.shift import copies
from terracyte.params import Params
from terracyte.params.row import read
from terracyte.tasks.task import Task
from tests import finished_project
from tests.conftest import TASKS, Edit


@pytest.fixture
def settings(finished: Path) -> Params:
    """The parameters of a finished project."""
    return params.load()


def make(name: str) -> Task:
    return tasks.make(name, params.load())


def logits_of(task: Task, shown: "np.ndarray[tuple[int, ...], np.dtype[np.int64]]") -> predictions.Kept:
    """Return what a task keeps of the logits of a model that is sure of the labels `shown`."""
    return task.decode(30.0 * np.eye(len(task.classes))[shown])


@pytest.mark.parametrize("name", TASKS)
def test_tasks_keep_what_they_promise(settings: Params, name: str) -> None:
    task, rows = make(name), predictions.test_rows(name)
    truth = task.targets(rows)
    random = np.random.default_rng(0)
    kept = task.decode(random.normal(size=(*truth.shape, len(task.classes))))
    predicted = task.predicted(kept)
    assert predicted.shape == truth.shape
    assert set(np.unique(predicted)) == set(task.scored_classes)
    assert list(task.scores(truth, kept)) == [task.headline, *task.other_scores]
    confusion = confusions.confusions(task, rows, [kept]).sum(axis=(0, 1))
    assert task.scores(truth, kept)[task.headline] == pytest.approx(task.headline_score(confusion))
    of_classes = task.class_scores(confusion)
    assert task.class_headline in of_classes
    assert {values.shape for values in of_classes.values()} == {(len(task.classes),)}


@pytest.mark.parametrize("name", TASKS)
def test_right_predictions_score_one_and_are_not_difficult(settings: Params, name: str) -> None:
    task, rows = make(name), predictions.test_rows(name)
    truth = task.targets(rows)
    kept = logits_of(task, truth.astype(np.int64))
    scores = task.scores(truth, kept)
    best = {score: 0.0 if "error" in score else 1.0 for score in scores}
    assert scores == pytest.approx(best, abs=1e-6)
    np.testing.assert_allclose(task.difficulty(truth, kept), 0, atol=1e-6)


def test_mars_never_predicts_background_but_the_course_let_it(settings: Params) -> None:
    task = make("mars")
    truth = np.array([[[1, 1], [2, 0]]])
    logits = np.zeros((1, 2, 2, 5))
    logits[..., 0] = 9
    logits[..., 1] = 5
    kept = task.decode(logits)
    assert (kept["prediction"] == 1).all()
    assert (kept["free"] == 0).all()
    scores = task.scores(truth, kept)
    # IoU: soil 2 of 3, bedrock 0 of 1; the course allows background, which is predicted everywhere
    assert scores["mean_iou"] == pytest.approx((2 / 3 + 0) / 2)
    assert scores["course_mean_iou"] == 0
    assert scores["pixel_accuracy"] == pytest.approx(2 / 3)
    assert task.difficulty(truth, kept) == pytest.approx([1 / 4])


def test_blood_softmax_is_stable_and_sums_to_one(settings: Params) -> None:
    task = make("blood")
    kept = task.decode(np.array([[1000.0, 999.0, *[-1000.0] * 6]]))
    assert kept["probabilities"].sum() == pytest.approx(1)
    assert kept["probabilities"][0, 0] == pytest.approx(1 / (1 + np.exp(-1)))
    assert task.difficulty(np.array([1]), kept) == pytest.approx([1 / (1 + np.exp(-1))])


def test_only_the_test_split_is_read(settings: Params) -> None:
    manifest = pd.read_parquet(paths.balance_manifest("blood"))
    rows = predictions.test_rows("blood")
    assert sorted(manifest.loc[manifest["split"] == "test", "id"]) == list(rows["id"])


def test_the_summary_holds_means_and_an_interval(settings: Params) -> None:
    scores = metric_files.read(paths.scores("mars", "mars-unet"))
    of_seeds = scores["seeds"]
    assert set(of_seeds) == set(scores["fingerprints"]) == {"0", "1"}
    for score in ("mean_iou", "course_mean_iou", "pixel_accuracy"):
        assert scores["mean"][score] == pytest.approx(np.mean([of_seeds[s][score] for s in of_seeds]), abs=1e-6)
    low, high = scores["interval"]["mean_iou"]
    assert 0 < low < high < 1
    assert "confusion" not in scores["mean"]
    assert list(scores["mean"]["per_class"]) == sorted(make("mars").classes[1:])
    assert np.array(of_seeds["0"]["confusion"]).sum() == scores["images"] * 32 * 32


def test_the_summary_says_what_shift_does(settings: Params) -> None:
    task, rows = make("blood"), predictions.test_rows("blood")
    scores = metric_files.read(paths.scores("blood", "blood-cnn"))
    for seed in settings.seeds:
        kept = predictions.stored("blood", "blood-cnn", seed, rows)
        right = kept["shift_probabilities"].argmax(axis=-1) == rows["label"].to_numpy()[:, None]
        severities = copies.test_severities(*right.shape)
        found = scores["seeds"][str(seed)]
        assert found["shift_accuracy"] == pytest.approx(right.mean(), abs=1e-6)
        assert [found["shift"][name] for name in task.corruptions] == pytest.approx(right.mean(axis=0), abs=1e-6)
        of_severities = [right[severities == severity].mean() for severity in range(1, 6)]
        assert found["shift_severity"] == pytest.approx(of_severities, abs=1e-6)
    mean = scores["mean"]
    assert set(mean["shift"]) == set(task.corruptions)
    assert mean["shift_accuracy"] == pytest.approx(np.mean(list(mean["shift"].values())), abs=1e-5)
    assert mean["shift_accuracy"] < mean["accuracy"]
    low, high = scores["interval"]["shift_accuracy"]
    assert low < mean["shift_accuracy"] < high
    assert {f"shift_{name}" for name in (task.headline, *task.other_scores)} < set(mean)
    assert task.shift_headline == f"shift_{task.headline}"


def test_tasks_without_corruptions_have_no_scores_under_shift(settings: Params) -> None:
    scores = metric_files.read(paths.scores("mars", "mars-unet"))
    assert not [name for name in {*scores["mean"], *scores["interval"], *scores["seeds"]["0"]} if "shift" in name]


def test_a_variant_does_not_differ_from_itself(settings: Params) -> None:
    task, rows = make("blood"), predictions.test_rows("blood")
    kept = [predictions.stored("blood", "blood-cnn", seed, rows) for seed in (0, 1)]
    same = confusions.confusions(task, rows, kept)
    assert evaluation.difference(task, same, same, settings.evaluate) == [0, 0]
    worse = [predictions.stored("blood", "blood-baseline", seed, rows) for seed in (0, 1)]
    assert evaluation.p_value(task, same, same, settings.evaluate) == 1
    for count in (confusions.confusions, confusions.shifted_confusions):
        better, other = count(task, rows, kept), count(task, rows, worse)
        low, high = evaluation.difference(task, better, other, settings.evaluate)
        assert 0 < low < high
        assert evaluation.p_value(task, better, other, settings.evaluate) < 0.05


def test_copies_under_shift_stay_in_the_group_of_their_image(settings: Params) -> None:
    task, rows = make("blood"), predictions.test_rows("blood")
    kept = [predictions.stored("blood", "blood-cnn", seed, rows) for seed in (0, 1)]
    clean, under_shift = confusions.confusions(task, rows, kept), confusions.shifted_confusions(task, rows, kept)
    np.testing.assert_array_equal(under_shift.sum(axis=-1), 11 * clean.sum(axis=-1))


def test_refuses_what_is_missing(settings: Params) -> None:
    paths.model("blood", "blood-cnn", 1).unlink()
    with pytest.raises(InputError, match=r"seed_1\.keras is missing: run `dvc repro train@blood-cnn`"):
        predictions.trained(read("blood", "blood-cnn"))
    with pytest.raises(InputError, match=r"seed_2\.keras is missing"):
        predictions.trained(dataclasses.replace(read("blood", "blood-baseline"), seeds=(0, 2)))
    rows = predictions.test_rows("blood")
    paths.balance_manifest("blood").unlink()
    with pytest.raises(InputError, match="run `dvc repro balance@blood`"):
        predictions.test_rows("blood")
    with pytest.raises(InputError, match="not of the present test split: run `dvc repro evaluate@blood-cnn`"):
        predictions.stored("blood", "blood-cnn", 0, rows.iloc[1:])


def test_refuses_an_empty_test_split(settings: Params) -> None:
    manifest = pd.read_parquet(paths.balance_manifest("mars"))
    files.write_table(paths.balance_manifest("mars"), manifest[manifest["split"] != "test"])
    with pytest.raises(InputError, match=r"raise balance\.mars\.test"):
        predictions.test_rows("mars")


def test_refuses_a_model_that_may_have_seen_the_test_split(settings: Params) -> None:
    with pytest.raises(InputError, match="seed 0 was trained with other params or data"):
        predictions.trained(dataclasses.replace(read("mars", "mars-unet"), data_hash="of today"))


def test_confusion_matrices_are_kept_without_loss(settings: Params, tmp_path: Path) -> None:
    task, rows = make("mars"), predictions.test_rows("mars")
    kept = [predictions.stored("mars", "mars-unet", seed, rows) for seed in (0, 1)]
    held = confusions.read(paths.confusions("mars", "mars-unet"))
    np.testing.assert_array_equal(held, confusions.confusions(task, rows, kept))
    assert held.dtype == np.int64


def test_the_stage_predicts_with_the_saved_model(
    settings: Params, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import keras

    from terracyte.models.serialization import write_model

    def save(bias: float) -> None:
        # The logit of class 1 is the mean brightness, that of class 2 its negative plus a bias.
        images = keras.Input((32, 32, 3))
        mean = keras.layers.GlobalAveragePooling2D()(images)
        model = keras.Model(images, keras.layers.Dense(8, name="logits")(mean))
        kernel, offset = np.zeros((3, 8), np.float32), np.zeros(8, np.float32)
        kernel[:, 1], kernel[:, 2], offset[2] = 1 / 3, -1 / 3, bias
        for seed in settings.seeds:
            # the first seed's bias is 40 lower: its brightness threshold is 20 lower, that of both seeds together 10
            offset[2] = bias - 40 * (seed == 0)
            model.get_layer("logits").set_weights([kernel, offset])
            write_model(paths.model("blood", "blood-cnn", seed), model)

    monkeypatch.setattr(sys, "argv", ["evaluate", "blood-cnn"])
    save(bias=280)
    stage.main()
    kept = files.read_arrays(paths.prediction("blood", "blood-cnn", 1))
    rows = predictions.test_rows("blood")
    np.testing.assert_array_equal(kept["id"], rows["id"])
    brightness = np.load(paths.images("blood"))[rows["id"]].mean(axis=(1, 2, 3))
    np.testing.assert_array_equal(kept["probabilities"].argmax(axis=1), np.where(brightness > 140, 1, 2))
    assert set(kept["probabilities"].argmax(axis=1)) == {1, 2}
    severities, names = copies.test_severities(len(rows), 11), make("blood").corruptions
    images, ids = np.load(paths.images("blood")), rows["id"].to_numpy()
    for column, name in enumerate(names):
        brightness = copies.test_copy(images, ids, name, severities[:, column]).mean(axis=(1, 2, 3))
        shown = kept["shift_probabilities"][:, column].argmax(axis=1)
        np.testing.assert_array_equal(shown, np.where(brightness > 140, 1, 2), err_msg=name)
    before = paths.scores("blood", "blood-cnn").read_bytes()
    stage.main()
    assert paths.scores("blood", "blood-cnn").read_bytes() == before
    scores, labels = metric_files.details(json.loads(before), "scores"), rows["label"].to_numpy()
    brightness = images[ids].mean(axis=(1, 2, 3))
    accuracies = [np.mean(np.where(brightness > threshold, 1, 2) == labels) for threshold in (120, 140, 130)]
    found = [scores["seeds"]["0"], scores["seeds"]["1"], scores["together"]]
    assert [each["accuracy"] for each in found] == pytest.approx(accuracies, abs=1e-6)
    assert scores["mean"]["accuracy"] == pytest.approx(np.mean(accuracies[:2]), abs=1e-6)

    save(bias=float("nan"))
    with pytest.raises(InputError, match=r"seed_0\.keras: its outputs are not finite"):
        stage.main()
    paths.model("blood", "blood-cnn", 0).write_bytes(b"half a mod")
    with pytest.raises(InputError, match="cannot be read as a Keras model"):
        stage.main()
    assert paths.scores("blood", "blood-cnn").read_bytes() == before
    assert capsys.readouterr().err == ""


def test_the_stage_predicts_masks(settings: Params, edit: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    from terracyte.models.serialization import write_model

    # The logit of class 3 is a pixel's brightness, that of background twice the brightness, that of class 2 constant.
    images = keras.Input((32, 32, 1))
    model = keras.Model(images, keras.layers.Conv2D(5, 1, name="logits")(images))
    model.get_layer("logits").set_weights([np.array([[[[2, 0, 0, 1, 0]]]]), np.array([0, 0, 100, 0, 0])])
    for seed in settings.seeds:
        write_model(paths.model("mars", "mars-unet", seed), model)
    monkeypatch.setattr(sys, "argv", ["evaluate", "mars-unet"])
    stage.main()
    kept = files.read_arrays(paths.prediction("mars", "mars-unet", 1))
    pixels = np.load(paths.images("mars"))[predictions.test_rows("mars")["id"]][..., 0]
    assert set(kept) == {"id", "prediction", "free"}
    np.testing.assert_array_equal(kept["prediction"], np.where(pixels > 100, 3, 2))
    assert set(np.unique(kept["free"])) == {0, 2}

    # with corruptions, the same network also predicts a copy of each image under each, against the same masks
    names = ["noise", "contrast_down", "motion_blur"]
    edit("tasks.mars.corruptions", names)
    finished_project.configure("mars")
    finished_project.train(make("mars"), "mars-unet")
    for seed in settings.seeds:
        write_model(paths.model("mars", "mars-unet", seed), model)
    stage.main()
    rows, images = predictions.test_rows("mars"), np.load(paths.images("mars"))
    severities = copies.test_severities(len(rows), 3)
    shifted = files.read_arrays(paths.prediction("mars", "mars-unet", 1))
    np.testing.assert_array_equal(shifted["prediction"], kept["prediction"])
    scores = metric_files.read(paths.scores("mars", "mars-unet"))
    truth, ious = np.load(paths.masks("mars"))[rows["id"]], []
    for column, name in enumerate(names):
        pixels = copies.test_copy(images, rows["id"].to_numpy(), name, severities[:, column])[..., 0]
        seen = np.where(pixels > 100, 3, 2)
        np.testing.assert_array_equal(shifted["shift_prediction"][:, column], seen, err_msg=name)
        np.testing.assert_array_equal(shifted["shift_free"][:, column], np.where(pixels >= 50, 0, 2), err_msg=name)
        # of classes 1 to 4, all of which occur in the masks; 1 and 4 are never predicted
        hits = [((seen == k) & (truth == k)).sum() for k in range(1, 5)]
        unions = [(((seen == k) | (truth == k)) & (truth > 0)).sum() for k in range(1, 5)]
        ious.append(np.mean(np.divide(hits, unions)))
        assert scores["mean"]["shift"][name] == pytest.approx(ious[-1], abs=1e-6)
    assert min(ious) < scores["mean"]["shift_mean_iou"] < max(ious)
    assert {f"shift_{name}" for name in (make("mars").headline, *make("mars").other_scores)} < set(scores["mean"])
    low, high = scores["interval"]["shift_mean_iou"]
    assert low < scores["mean"]["shift_mean_iou"] < high


@pytest.mark.usefixtures("settings")
def test_scores_of_a_class_leave_pixels_of_true_background_out() -> None:
    confusion = np.zeros((5, 5), np.int64)
    confusion[0] = 9
    confusion[1, 1:3], confusion[2, 2], confusion[4, 0], confusion[4, 4] = (3, 1), 4, 2, 2
    found = make("mars").class_scores(confusion)
    assert found["iou"].tolist() == pytest.approx([0, 3 / 4, 4 / 5, 0, 2 / 4])
    assert found["recall"].tolist() == pytest.approx([0, 3 / 4, 1, 0, 2 / 4])
    assert found["precision"].tolist() == pytest.approx([0, 1, 4 / 5, 0, 1])


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(("name", "variant"), [("blood", "blood-cnn"), ("mars", "mars-unet")])
def test_each_class_has_its_own_scores_under_its_own_name(name: str, variant: str) -> None:
    task, scores = make(name), metric_files.read(paths.scores(name, variant))["seeds"]["0"]
    counts = np.array(scores["confusion"])
    counts[[k for k in range(len(counts)) if k not in task.scored_classes]] = 0
    for k in task.scored_classes:
        hits, true, shown = counts[k, k], counts[k].sum(), counts[:, k].sum()
        expected = {"recall": hits / true, "precision": hits / shown}
        other = {"iou": hits / (true + shown - hits)} if task.dense else {"f1": 2 * hits / (true + shown)}
        assert scores["per_class"][task.classes[k]] == pytest.approx(expected | other, abs=1e-6)
