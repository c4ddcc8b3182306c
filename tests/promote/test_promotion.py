"""Who becomes champion: decisions on stored predictions, with made-up behaviour; then what the behaviour tests find."""

import contextlib
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages import promote as stage
from terracyte import params, tasks
from terracyte import promote as promotion
from terracyte.configure.identity import file_hash
from terracyte.core import files, metric_files, paths
from terracyte.core.errors import InputError, guarded
from terracyte.evaluate import predictions
from terracyte.evaluate import scores as evaluation
from terracyte.models import seed_ensemble
from terracyte.promote import behaviour, calibration, comparison
from terracyte.tasks.task import Task
from tests import finished_project
from tests.conftest import Edit
from tests.finished_project import BEHAVIOUR


@pytest.fixture
def unpromoted(finished: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished project without champions, whose models' files are empty and behave."""

    @contextlib.contextmanager
    def first(models: Sequence[Path]) -> Iterator[Path]:
        yield models[0]

    for task in params.TASKS:
        shutil.rmtree(paths.champion(task))
        paths.promotion(task).unlink()
    monkeypatch.setattr(seed_ensemble, "model_file", first)
    monkeypatch.setattr(behaviour, "examine", lambda *_: BEHAVIOUR)
    monkeypatch.setattr(calibration, "write", finished_project.calibrate)
    monkeypatch.setattr(sys, "argv", ["promote", "blood"])
    return finished


def make(name: str = "blood") -> Task:
    return tasks.make(name, params.load())


def promote(best: str, task: str = "blood") -> dict[str, Any]:
    """Let a variant validate best, by as little as it takes, and run the stage; its record."""
    metric, training = f"val_{make(task).selection}", {}
    for name in params.load().variants_of(task):
        training[name] = metric_files.read(paths.training(task, name))
    highest = max(runs["0"][metric] for name, runs in training.items() if name != best)
    for run in training[best].values():
        run[metric] = max(run[metric], highest + 0.01)
    metric_files.write(paths.training(task, best), {}, training[best])
    return decide(task)


def decide(task: str = "blood") -> dict[str, Any]:
    sys.argv = ["promote", task]  # restored by the fixture's monkeypatch
    stage.main()
    record: dict[str, Any] = files.read_json(paths.promotion(task))
    return record


def state(task: str = "blood") -> str:
    """The hash of all that the stage writes."""
    written = sorted(path for path in paths.champion(task).rglob("*") if path.is_file())
    return " ".join(map(str, written)) + file_hash(paths.promotion(task), *written)


def champion(task: str = "blood") -> dict[str, Any]:
    about: dict[str, Any] = files.read_json(paths.champion(task) / "champion.json")
    return about


def train_again(task: str = "blood") -> None:
    """Train and evaluate every variant on the present data."""
    settings = params.load()
    for variant in settings.variants_of(task):
        finished_project.train(make(task), variant, settings)
        finished_project.evaluate(make(task), variant, settings)


def edit_manifest(change: Callable[[pd.DataFrame], pd.DataFrame], task: str = "blood") -> None:
    path = paths.balance_manifest(task)
    files.write_table(path, change(pd.read_parquet(path)))


def rescore(variant: str, right: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]) -> None:
    """Let a variant of blood predict, of each true label, what `right` says; it is sure everywhere and under shift."""
    task, settings = make(), params.load()
    rows = predictions.test_rows("blood")
    labels = right(task.targets(rows))
    probabilities = np.eye(len(task.classes), dtype=np.float32)[labels]
    copies = np.repeat(probabilities[:, None], len(task.corruptions), axis=1)
    kept = {"id": rows["id"].to_numpy(np.int64), "probabilities": probabilities, "shift_probabilities": copies}
    for seed in settings.seeds:
        files.write_arrays(paths.prediction("blood", variant, seed), kept)
    records = predictions.trained("blood", variant, settings.seeds)
    of_seeds = dict.fromkeys(settings.seeds, kept)
    scores = evaluation.summarise(task, variant, rows, of_seeds, records, settings.evaluate, kept)
    metric_files.write(paths.scores("blood", variant), scores["mean"], scores)


@pytest.mark.usefixtures("unpromoted")
@pytest.mark.parametrize(("task", "best"), [("blood", "blood-cnn"), ("mars", "mars-unet")])
def test_the_first_champion_only_has_to_behave(task: str, best: str) -> None:
    record = promote(best, task)
    assert record["promoted"]
    assert "no champion to compare with" in record["reasons"][0]
    assert (record["against"], record["history"], record["checks"]["comparison"]) == ([], [], None)
    assert record["champion"] == champion(task)
    about, scores = champion(task), metric_files.read(paths.scores(task, best))
    assert (about["variant"], about["seeds"], about["score"]) == (best, [0, 1], scores["mean"][make(task).headline])
    assert [about["score_low"], about["score_high"]] == scores["interval"][make(task).headline]
    assert about["fingerprints"] == list(scores["fingerprints"].values())
    assert (about["classes"], about["height"], about["channels"]) == (
        list(make(task).classes),
        32,
        make(task).image_shape[2],
    )
    folder = paths.champion(task)
    assert files.read_json(folder / "scores.json") == scores
    stored = files.read_arrays(folder / "predictions/seed_1.npz")
    assert np.array_equal(stored["id"], predictions.test_rows(task)["id"])
    assert (folder / "model.keras").exists()


@pytest.mark.usefixtures("unpromoted")
@pytest.mark.parametrize(
    ("task", "best", "worse"), [("blood", "blood-cnn", "blood-baseline"), ("mars", "mars-unet", "mars-baseline")]
)
def test_a_second_run_changes_no_byte_whatever_was_decided(task: str, best: str, worse: str) -> None:
    for candidate in (worse, best, worse):
        promote(candidate, task)
        before = state(task)
        decide(task)
        assert state(task) == before


@pytest.mark.usefixtures("unpromoted")
def test_a_better_candidate_becomes_champion_and_the_decision_before_is_kept() -> None:
    promote("blood-baseline")
    record = promote("blood-cnn")
    assert record["promoted"]
    assert champion()["variant"] == "blood-cnn"
    found = record["checks"]["comparison"]
    assert found["images"] == len(predictions.test_rows("blood"))
    assert found["metric"] == "robust_accuracy"
    scores = [metric_files.read(paths.scores("blood", name))["mean"] for name in ("blood-cnn", "blood-baseline")]
    means = [(each["accuracy"] + each["shift_accuracy"]) / 2 for each in scores]
    assert [found["candidate"], found["champion"]] == pytest.approx(means, abs=1e-5)
    assert found["low"] < found["difference"] < found["high"]
    assert 0 < found["p_value"] < found["significance"] == 0.05
    assert found["classes"]["basophil"]["candidate"] == scores[0]["per_class"]["basophil"]["recall"]
    assert f"on the {found['images']} test images that both were tested on" in record["reasons"][0]
    (earlier,) = record["history"]
    assert (earlier["candidate"], earlier["champion"], earlier["promoted"]) == (
        "blood-baseline",
        "blood-baseline",
        True,
    )


@pytest.mark.usefixtures("unpromoted")
def test_a_candidate_that_is_no_better_is_refused_and_the_champion_stays(capsys: pytest.CaptureFixture[str]) -> None:
    first = promote("blood-cnn")
    kept = champion()
    record = promote("blood-baseline")
    assert (record["promoted"], record["candidate"]["variant"]) == (False, "blood-baseline")
    assert "Not better than the champion blood-cnn" in record["against"][0]
    assert champion() == kept == record["champion"] == first["champion"]
    assert "blood-baseline is refused (blood-cnn is champion)" in capsys.readouterr().out
    # chance alone: the two networks are as good as one another
    record = promote("blood-transfer")
    assert "not below 0.05" in record["against"][0]
    assert [earlier["candidate"] for earlier in record["history"]] == ["blood-cnn", "blood-baseline"]


@pytest.mark.usefixtures("unpromoted")
def test_the_same_variant_trained_otherwise_is_a_candidate_like_any_other(
    edit: Edit, capsys: pytest.CaptureFixture[str]
) -> None:
    promote("blood-cnn")
    kept = champion()
    edit("reference.blood.dropout", 0.25)
    train_again()
    record = promote("blood-cnn")
    assert (record["promoted"], champion()) == (False, kept)
    assert record["candidate"]["fingerprints"] != kept["fingerprints"]
    assert record["checks"]["comparison"]["p_value"] == 1
    assert "blood-cnn is refused (blood-cnn is champion): Not better than the champion" in capsys.readouterr().out


@pytest.mark.usefixtures("unpromoted")
def test_no_class_may_fall_by_more_than_the_bound(edit: Edit) -> None:
    rescore("blood-baseline", lambda labels: np.zeros_like(labels))
    promote("blood-baseline")
    rescore("blood-cnn", lambda labels: np.where(labels == 0, 1, labels))
    record = promote("blood-cnn")
    assert not record["promoted"]
    assert record["against"] == ["The recall of basophil falls by 100.0 points; 5.0 are allowed."]
    edit("promote.blood.class_drop", 1.0)
    record = decide()
    assert record["promoted"]
    assert "that of basophil falls most, by 100.0." in " ".join(record["reasons"])
    assert len(record["history"]) == 2


@pytest.mark.usefixtures("unpromoted")
def test_who_does_not_behave_is_no_champion_even_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {**BEHAVIOUR, "flips": {"passed": False, "figure": 0.5, "bound": 0.9}}
    monkeypatch.setattr(behaviour, "examine", lambda *_: found)
    record = promote("blood-cnn")
    assert record["against"] == ["Mirror images keep 50.0 % of the decisions (not at least 90.0)."]
    assert (record["promoted"], record["champion"]) == (False, {"variant": None})
    assert list(paths.champion("blood").iterdir()) == []
    before = state()
    assert decide() == record
    assert state() == before
    monkeypatch.setattr(behaviour, "examine", lambda *_: BEHAVIOUR)
    assert decide()["promoted"]


@pytest.mark.usefixtures("unpromoted")
def test_why_the_champion_was_chosen_is_not_told_anew(edit: Edit) -> None:
    promote("blood-baseline")
    promote("blood-cnn")
    chosen = champion()
    edit("promote.blood.significance", 0.0001)
    record = decide()
    assert record["promoted"]
    assert record["champion"] == chosen
    # a refused candidate that is gone again
    promote("blood-baseline")
    record = promote("blood-cnn")
    assert (record["promoted"], record["reasons"]) == (False, ["The candidate is the champion already."])
    assert record["champion"] == chosen
    assert [earlier["promoted"] for earlier in record["history"]] == [True, True, False]


@pytest.mark.usefixtures("unpromoted")
def test_a_champion_whose_variant_got_another_name_bears_it(edit: Edit) -> None:
    promote("blood-cnn")
    variants = dict(finished_project.VARIANTS)
    variants["blood-plain"] = {**variants.pop("blood-cnn"), "title": "renamed"}
    edit("variants", variants)
    train_again()
    record = promote("blood-plain")
    assert (record["champion"]["variant"], record["champion"]["title"]) == ("blood-plain", "renamed")
    assert champion() == record["champion"]
    assert record["promoted"]


@pytest.mark.usefixtures("unpromoted")
@pytest.mark.parametrize("candidate", ["blood-cnn", "blood-baseline"])
def test_a_fresh_clone_makes_the_recorded_champion_again(candidate: str) -> None:
    promote("blood-cnn")
    promote(candidate)
    before = state()
    shutil.rmtree(paths.champion("blood"))
    decide()
    assert state() == before


@pytest.mark.usefixtures("unpromoted")
def test_a_folder_of_another_champion_gives_way_to_the_recorded_one() -> None:
    promote("blood-baseline")
    shutil.copytree(paths.champion("blood"), "other")
    promote("blood-cnn")
    before = state()
    shutil.rmtree(paths.champion("blood"))
    Path("other").rename(paths.champion("blood"))  # as after `git pull` without `dvc checkout`
    decide()
    assert state() == before


@pytest.mark.usefixtures("unpromoted")
def test_a_lost_champion_is_told(edit: Edit) -> None:
    promote("blood-cnn")
    shutil.rmtree(paths.champion("blood"))
    edit("variants", {name: each for name, each in finished_project.VARIANTS.items() if name != "blood-cnn"})
    record = promote("blood-transfer")
    assert record["promoted"]
    assert "The champion blood-cnn is lost: data/blood/champion is empty" in record["reasons"][0]
    assert [earlier["champion"] for earlier in record["history"]] == ["blood-cnn"]


@pytest.mark.usefixtures("unpromoted")
def test_a_champion_outlives_its_variant(edit: Edit) -> None:
    promote("blood-cnn")
    kept = state().partition(" ")[0], champion()
    edit("variants", {name: each for name, each in finished_project.VARIANTS.items() if name != "blood-cnn"})
    for removed in (paths.models("blood", "blood-cnn"), paths.predictions("blood", "blood-cnn")):
        shutil.rmtree(removed)
    record = promote("blood-baseline")
    assert not record["promoted"]
    assert (state().partition(" ")[0], champion()) == kept
    assert record["checks"]["comparison"]["images"] == len(predictions.test_rows("blood"))


@pytest.mark.usefixtures("unpromoted")
def test_of_other_splits_only_the_common_images_count(edit: Edit) -> None:
    edit("promote.blood.class_drop", 1.0)
    promote("blood-baseline")
    whole = predictions.test_rows("blood")
    old = state()
    moved, relabelled = whole["id"][:5].tolist(), whole["id"][5:7].tolist()

    def change(manifest: pd.DataFrame) -> pd.DataFrame:
        manifest = manifest[~manifest["id"].isin(moved)].copy()
        manifest.loc[manifest["id"].isin(relabelled), "label"] = 0
        return manifest

    first = whole.loc[whole["id"].isin(relabelled), "label"]
    edit_manifest(change)
    train_again()
    record = promote("blood-cnn")
    found = record["checks"]["comparison"]
    assert found["images"] == len(whole) - 5 - int((first != 0).sum())
    assert found["metric"] == "accuracy"  # copies under shift depend on the whole split
    assert record["promoted"]
    assert state() != old
    # the champion of other data stays as it is
    edit_manifest(lambda manifest: manifest.iloc[:-1])
    train_again()
    old_folder = file_hash(*sorted(path for path in paths.champion("blood").rglob("*") if path.is_file()))
    record = promote("blood-baseline")
    assert not record["promoted"]
    assert file_hash(*sorted(path for path in paths.champion("blood").rglob("*") if path.is_file())) == old_folder


def test_images_are_matched_by_content_and_truth_not_by_id() -> None:
    one = pd.DataFrame({"id": [0, 1, 2, 3], "content_hash": ["a", "b", "c", "c"], "target": ["0", "1", "2", "2"]})
    other = pd.DataFrame({"id": [0, 1, 2], "content_hash": ["c", "a", "b"], "target": ["2", "0", "7"]})
    here, there = comparison.common(one, other)
    assert (here.tolist(), there.tolist()) == ([0, 2], [1, 0])


@pytest.mark.usefixtures("unpromoted")
def test_no_common_image_leaves_the_candidate_alone() -> None:
    promote("blood-cnn")
    edit_manifest(lambda manifest: manifest.assign(content_hash="new " + manifest["content_hash"]))
    train_again()
    record = promote("blood-baseline")
    assert record["promoted"]
    assert "blood-cnn was tested on none of the present test images" in record["reasons"][0]


@pytest.mark.usefixtures("unpromoted")
@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (
            "data.mars.classes",
            ["background", "soil", "bedrock", "sand", "boulder"],
            "its classes were background, soil",
        ),
        ("data.mars.height", 64, "its images were 32x32 with 1 channels"),
    ],
)
def test_other_classes_or_sizes_cannot_be_compared(edit: Edit, path: str, value: Any, expected: str) -> None:
    promote("mars-unet", "mars")
    edit(path, value)
    summary = files.read_json(paths.balance("mars"))
    for split in summary["splits"].values():
        split["classes"] = dict.fromkeys(make("mars").classes, 1)
    files.write_json(paths.balance("mars"), summary | {"changed": True})
    train_again("mars")
    record = promote("mars-baseline", "mars")
    assert record["promoted"]
    assert f"cannot be compared ({expected}" in record["reasons"][0]


@pytest.mark.usefixtures("unpromoted")
@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        (lambda: paths.promotion("blood").write_text("<<<<<<<"), "git checkout metrics/blood/promotion.json"),
        (lambda: files.write_json(paths.promotion("blood"), {"champion": 1}), "promotion.json cannot be read"),
        (lambda: (paths.champion("blood") / "scores.json").unlink(), "dvc checkout data/blood/champion"),
        (lambda: (paths.champion("blood") / "champion.json").write_text("{"), "data/blood/champion is incomplete"),
        (lambda: paths.scores("blood", "blood-cnn").unlink(), "run `dvc repro evaluate@blood-cnn`"),
    ],
)
def test_what_cannot_be_read_is_one_line_and_changes_nothing(
    capsys: pytest.CaptureFixture[str], broken: Callable[[], object], expected: str
) -> None:
    promote("blood-cnn")
    broken()
    before = state()
    with pytest.raises(SystemExit) as stop:
        guarded(stage.main)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line
    assert state() == before


@pytest.mark.usefixtures("unpromoted")
def test_the_card_tells_data_scores_limits_and_how_it_was_chosen() -> None:
    promote("blood-baseline")
    promote("blood-cnn")
    text, about = (paths.champion("blood") / "card.md").read_text(encoding="utf-8"), champion()
    assert text.startswith("# Blood: a network\n")
    for expected in (
        f"hash `{about['data_hash']}`",
        "no diagnosis may rest on it",
        "it knows nothing of real ones",
        "| recall, basophil |",
        "| stain |",
        "- passed: Mirror images keep 95.0 % of the decisions (at least 90.0).",
        "- Better than the champion blood-baseline",
        f"- `{about['fingerprints'][1]}` (seed 1, starts from: random)",
    ):
        assert expected in text
    assert "of the averaged model, which this one is" in text


@pytest.mark.usefixtures("finished")
def test_behaviour_is_tried_on_validation_images_only() -> None:
    manifest = pd.read_parquet(paths.balance_manifest("blood"))
    images = np.load(paths.images("blood"))
    ids = manifest["id"][manifest["split"] == "validation"].to_numpy()
    images[:] = 0
    images[ids] = 1
    np.save(paths.images("blood"), images)
    for wanted, expected in ((5, 5), (10_000, len(ids))):
        shown = behaviour.shown(make(), wanted)
        assert shown.shape == (expected, 32, 32, 3)
        assert shown.min() == 1
    edit_manifest(lambda rows: rows[rows["split"] != "validation"])
    with pytest.raises(InputError, match="no row's split is 'validation'"):
        behaviour.shown(make(), 5)


def network(task: Task, fault: str) -> Path:
    """Write a network that decides by how light an image or pixel is, with one fault or none."""
    import keras
    from keras import layers, ops

    from terracyte.models.serialization import write_model

    images = keras.Input(task.image_shape)
    grey = ops.mean(images, axis=-1, keepdims=True) / 255
    if fault == "position":
        grey = ops.pad(grey[:, :, :16], [[0, 0], [0, 0], [0, 16], [0, 0]])  # the right half is not looked at
    if fault == "batch":
        grey = grey - 0.1 * ops.mean(grey, axis=0, keepdims=True)
    if fault == "infinite":
        grey = grey + ops.log(ops.mean(grey, axis=(1, 2, 3), keepdims=True))  # of a black image
    shown = grey if task.dense else ops.mean(grey, axis=(1, 2))
    # far from all greys of the pictures, or within them
    edge = 0.3 if fault != "edge" else 0.5
    logits = [ops.zeros_like(shown) - 9, edge - shown, shown - edge, ops.zeros_like(shown) - 9]
    model = keras.Model(images, layers.Concatenate(name="logits")(logits))
    path = Path("network.keras")
    write_model(path, model)
    return path


def pictures(task: Task, fault: str) -> behaviour.Images:
    """(16, h, w, c): dark or light images, their right half otherwise lit than the left; or all of a middle grey."""
    random = np.random.default_rng(0)
    left, right = (random.choice([10, 240], (16, 1, 1, 1)) for _ in range(2))
    if fault == "edge":
        left = right = random.integers(124, 132, (16, 1, 1, 1))
    halves = [np.broadcast_to(half, (16, 32, 16, task.image_shape[2])) for half in (left, right)]
    return np.concatenate(halves, axis=2).astype(np.uint8)


@pytest.mark.parametrize("name", params.TASKS)
@pytest.mark.parametrize(
    ("fault", "failed"),
    [
        ("", []),
        ("position", ["flips"]),
        ("batch", ["batch_of_one"]),
        ("infinite", ["empty_image"]),
        ("edge", ["brightness"]),
    ],
)
def test_behaviour_tests_find_the_fault(project: Path, edit: Edit, name: str, fault: str, failed: list[str]) -> None:
    for key, value in (("classes", ["a", "b", "c", "d"]), ("height", 32), ("width", 32)):
        edit(f"data.{name}.{key}", value)
    task, bounds = make(name), params.load().promote[name]
    model, images = network(task, fault), pictures(task, fault)
    found = behaviour.examine(task, model, images, "horizontal", bounds)
    assert [test for test, result in found.items() if not result["passed"]] == failed
    if not fault:
        unflipped = behaviour.examine(task, model, images, "none", bounds)
        assert unflipped == {test: result for test, result in found.items() if test != "flips"}
        told = (True, "Mirror images are not tried: the reference's flip is none.")
        assert promotion.wording.behaviour(unflipped)[0] == told


@pytest.mark.usefixtures("unpromoted")
def test_outputs_that_are_no_numbers_are_a_reason_too(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {**BEHAVIOUR, "batch_of_one": behaviour._within(np.nan, 0.001)}
    monkeypatch.setattr(behaviour, "examine", lambda *_: found)
    assert promote("blood-cnn")["against"] == ["Alone or in a batch, an image's outputs are not finite."]
