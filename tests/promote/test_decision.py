"""Which variant becomes champion: decisions on stored predictions, with made-up results of the behaviour tests."""

import contextlib
import dataclasses
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
from terracyte.core import files, metric_files, paths
from terracyte.core.errors import guarded
from terracyte.core.hashing import file_hash
from terracyte.evaluate import predictions
from terracyte.evaluate import scores as evaluation
from terracyte.fetch import initialisation
from terracyte.models import seed_ensemble
from terracyte.params import row
from terracyte.params.row import NOT_TO_BE_HAD, RANDOM
from terracyte.promote import behaviour, calibration, card, checks, comparison, contenders, decision, novelty
from terracyte.promote.champion import (
    CARD,
    MODEL,
    NOVELTY,
    RECORD,
    SCORES,
    TESTED,
    prediction,
    same_trainings,
    task_of,
)
from terracyte.rendering import formats
from terracyte.tasks.task import Task
from tests import finished_project
from tests.conftest import TASKS, Edit
from tests.finished_project import BEHAVIOUR


@pytest.fixture(autouse=True)
def unpromoted(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finished project without champions; its model files are empty, and the behaviour tests are set to pass."""

    @contextlib.contextmanager
    def first(models: Sequence[Path]) -> Iterator[Path]:
        yield models[0]

    for task in TASKS:
        shutil.rmtree(paths.champion(task))
        paths.promotion(task).unlink()
    monkeypatch.setattr(seed_ensemble, "model_file", first)
    monkeypatch.setattr(behaviour, "examine", lambda *_: checks.from_record(BEHAVIOUR))
    monkeypatch.setattr(calibration, "write", finished_project.calibrate)
    monkeypatch.setattr(novelty, "write", lambda task, path, share: files.write_text(path, f"{task.name} {share}"))
    monkeypatch.setattr(sys, "argv", ["promote", "blood"])


def make(name: str = "blood") -> Task:
    return tasks.make(name, params.load())


def promote(best: str, task: str = "blood") -> dict[str, Any]:
    """Raise a variant's validation scores to just above all others', and decide; return the record."""
    settings = params.load()
    metric = f"val_{tasks.make(task, settings).selection}"
    training = {name: metric_files.read(paths.training(task, name)) for name in settings.rows_of(task)}
    highest = max(runs["0"][metric] for name, runs in training.items() if name != best)
    for run in training[best].values():
        run[metric] = max(run[metric], highest + 0.01)
    metric_files.write(paths.training(task, best), {}, training[best])
    return decide(task, settings)


def decide(task: str = "blood", settings: params.Params | None = None) -> dict[str, Any]:
    """Decide as the stage does; return the record as it is written."""
    settings = settings or params.load()
    files.write_json(paths.promotion(task), decision.promote(tasks.make(task, settings), settings))
    record: dict[str, Any] = files.read_json(paths.promotion(task))
    return record


def drop(path: Path, *names: str) -> None:
    """Remove a (nested) key from a JSON file."""
    written = files.read_json(path)
    place = written
    for name in names[:-1]:
        place = place[name]
    del place[names[-1]]
    files.write_json(path, written)


def outdate(path: Path) -> None:
    """Let scores be of other trainings."""
    written = metric_files.read(path)
    fingerprints = dict.fromkeys(written["fingerprints"], "f" * 64)
    metric_files.write(path, {}, {**written, "fingerprints": fingerprints})


def folder_state(task: str = "blood") -> str:
    """Return the paths of the champion's files and the hash of their contents."""
    written = sorted(path for path in paths.champion(task).rglob("*") if path.is_file())
    return " ".join(map(str, written)) + file_hash(*written)


def state(task: str = "blood") -> str:
    """Return what identifies everything that the stage writes."""
    return folder_state(task) + file_hash(paths.promotion(task))


def champion(task: str = "blood") -> dict[str, Any]:
    about: dict[str, Any] = files.read_json(paths.champion(task) / RECORD)
    return about


def train_again(task: str = "blood") -> None:
    """Train and evaluate every variant on the present data."""
    settings = params.load()
    finished_project.configure(task)
    for variant in settings.rows_of(task):
        finished_project.train(tasks.make(task, settings), variant)
        finished_project.evaluate(tasks.make(task, settings), variant, settings)


def declare(edit: Edit, variants: dict[str, dict[str, Any]]) -> None:
    """Declare these as the only variants, and each of them as a row."""
    edit("rows", {name: variant["task"] for name, variant in variants.items()})
    edit("variants", variants)


def edit_manifest(change: Callable[[pd.DataFrame], pd.DataFrame], task: str = "blood") -> None:
    path = paths.balance_manifest(task)
    files.write_table(path, change(pd.read_parquet(path)))


def rescore(variant: str, right: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]) -> None:
    """Let a blood variant predict `right(labels)` with probability 1, on clean images and under shift, and score it."""
    task, settings = make(), params.load()
    rows = predictions.test_rows("blood")
    labels = right(task.targets(rows))
    probabilities = np.eye(len(task.classes), dtype=np.float32)[labels]
    copies = np.repeat(probabilities[:, None], len(task.corruptions), axis=1)
    kept = {"id": rows["id"].to_numpy(np.int64), "probabilities": probabilities, "shift_probabilities": copies}
    for seed in settings.seeds:
        files.write_arrays(paths.prediction("blood", variant, seed), kept)
    of_seeds = dict.fromkeys(settings.seeds, kept)
    scores = evaluation.summarise(task, row.read("blood", variant), rows, of_seeds, settings.evaluate, kept)
    metric_files.write(paths.scores("blood", variant), scores["mean"], scores)


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
    assert files.read_json(folder / SCORES) == scores
    stored = files.read_arrays(folder / prediction(1))
    assert np.array_equal(stored["id"], predictions.test_rows(task)["id"])
    assert (folder / MODEL).exists()


@pytest.mark.parametrize(
    ("task", "best", "worse"), [("blood", "blood-cnn", "blood-baseline"), ("mars", "mars-unet", "mars-baseline")]
)
def test_a_second_run_changes_no_byte_whatever_was_decided(task: str, best: str, worse: str) -> None:
    for candidate in (worse, best, worse):
        promote(candidate, task)
        before = state(task)
        decide(task)
        assert state(task) == before


@pytest.mark.parametrize(("place", "name"), [(files, "write_json"), (Path, "rename")])
def test_a_kill_while_the_first_decision_is_written_does_not_change_it(
    place: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote("blood-cnn")
    undisturbed = state()
    shutil.rmtree(paths.champion("blood"))
    paths.promotion("blood").unlink()
    do = getattr(place, name)

    def killed(path: Path, *arguments: Any) -> Any:
        if path == paths.promotion("blood") or paths.champion("blood") in arguments:
            raise KeyboardInterrupt
        return do(path, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(place, name, killed)
        with pytest.raises(KeyboardInterrupt):
            decide()
    decide()
    assert state() == undisturbed


def test_a_better_candidate_becomes_champion_and_the_decision_before_is_kept() -> None:
    promote("blood-baseline")
    record = promote("blood-cnn")
    assert record["promoted"]
    assert champion()["variant"] == "blood-cnn"
    found = record["checks"]["comparison"]
    assert found["images"] == len(predictions.test_rows("blood"))
    assert found["groups"] == predictions.test_rows("blood")["group"].nunique()
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


def test_a_candidate_that_is_no_better_is_refused_and_the_champion_stays() -> None:
    first = promote("blood-cnn")
    kept = champion()
    record = promote("blood-baseline")
    assert (record["promoted"], record["candidate"]["variant"]) == (False, "blood-baseline")
    assert "Not better than the champion blood-cnn" in record["against"][0]
    assert champion() == kept == record["champion"] == first["champion"]
    assert decision.describe(record).startswith("blood-baseline is refused (blood-cnn is champion)")
    # the two networks are equally good and differ only by chance
    record = promote("blood-transfer")
    assert "not below 0.05" in record["against"][0]
    assert [earlier["candidate"] for earlier in record["history"]] == ["blood-cnn", "blood-baseline"]


def test_the_same_variant_trained_otherwise_is_a_candidate_like_any_other(
    edit: Edit, capsys: pytest.CaptureFixture[str]
) -> None:
    promote("blood-cnn")
    kept = champion()
    edit("reference.blood.dropout", 0.25)
    train_again()
    stage.main()
    record = files.read_json(paths.promotion("blood"))
    assert (record["promoted"], champion()) == (False, kept)
    assert record["candidate"]["fingerprints"] != kept["fingerprints"]
    assert record["checks"]["comparison"]["p_value"] == 1
    assert "blood-cnn is refused (blood-cnn is champion): Not better than the champion" in capsys.readouterr().out


def test_a_variant_that_other_code_trained_is_a_candidate_like_any_other() -> None:
    promote("blood-cnn")
    kept = champion()
    files.write_text(paths.model("blood", "blood-cnn", 0), "other weights")
    record = decide()
    assert record["candidate"]["fingerprints"] == kept["fingerprints"]
    assert (record["promoted"], champion()) == (False, kept)
    assert (paths.champion("blood") / MODEL).read_text() == ""
    assert "Not better than the champion blood-cnn" in record["against"][0]
    # without the champion's folder, the row is still not taken for the champion
    shutil.rmtree(paths.champion("blood"))
    record = decide()
    assert record["reasons"][0].endswith("blood/champion is empty, and no row has the same trainings.")
    assert (paths.champion("blood") / MODEL).read_text() == "other weights"


def test_a_champion_from_before_the_hash_of_models_stays() -> None:
    promote("blood-cnn")
    for path in (paths.champion("blood") / RECORD, paths.promotion("blood")):
        content = files.read_json(path)
        for about in (content, content.get("champion", {}), content.get("candidate", {})):
            about.pop("models", None)
        files.write_json(path, content)
    record = decide()
    assert record["promoted"]
    assert not record["history"]


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


def test_who_does_not_behave_is_no_champion_even_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {**BEHAVIOUR, "flips": {"passed": False, "figure": 0.5, "bound": 0.9}}
    monkeypatch.setattr(behaviour, "examine", lambda *_: checks.from_record(found))
    record = promote("blood-cnn")
    assert record["against"] == ["Mirror images keep 50.0 % of the decisions (must be at least 90.0)."]
    assert (record["promoted"], record["champion"]) == (False, {"variant": None})
    assert decision.describe(record).startswith("blood-cnn is refused (nobody is champion): Mirror images keep")
    assert list(paths.champion("blood").iterdir()) == []
    before = state()
    assert decide() == record
    assert state() == before
    monkeypatch.setattr(behaviour, "examine", lambda *_: checks.from_record(BEHAVIOUR))
    assert decide()["promoted"]


def test_why_the_champion_was_chosen_is_not_told_anew(edit: Edit) -> None:
    promote("blood-baseline")
    promote("blood-cnn")
    chosen = champion()
    edit("promote.blood.significance", 0.0001)
    record = decide()
    assert record["promoted"]
    assert record["champion"] == chosen
    # after a refused candidate, the champion itself is the candidate again
    promote("blood-baseline")
    record = promote("blood-cnn")
    assert (record["promoted"], record["reasons"]) == (False, ["The candidate is the champion already."])
    assert decision.describe(record) == "blood-cnn is champion: The candidate is the champion already."
    assert [record["champion"][key] for key in ("reasons", "behaviour")] == [chosen["reasons"], chosen["behaviour"]]
    assert [earlier["promoted"] for earlier in record["history"]] == [True, True, False]


def test_a_champion_that_is_evaluated_again_has_the_new_scores() -> None:
    promote("blood-cnn")
    before = champion()
    rescore("blood-cnn", lambda labels: labels)
    record = decide()
    assert before["score"] < champion()["score"] == record["champion"]["score"] == 1
    assert [champion()[key] for key in ("reasons", "behaviour")] == [before["reasons"], before["behaviour"]]
    kept, due = (
        files.read_arrays(path)["probabilities"]
        for path in (paths.champion("blood") / prediction(0), paths.prediction("blood", "blood-cnn", 0))
    )
    assert np.array_equal(kept, due)
    settled = state()
    decide()
    assert state() == settled


def test_a_champion_whose_variant_got_another_name_bears_it(edit: Edit) -> None:
    promote("blood-cnn")
    variants = dict(finished_project.VARIANTS)
    variants["blood-plain"] = {**variants.pop("blood-cnn"), "title": "renamed"}
    declare(edit, variants)
    initialisation.write(paths.pretrained("blood-plain"), RANDOM)
    train_again()
    record = promote("blood-plain")
    assert (record["champion"]["variant"], record["champion"]["title"]) == ("blood-plain", "renamed")
    assert champion() == record["champion"]
    assert record["promoted"]


def test_a_fresh_clone_makes_the_recorded_champion_again() -> None:
    for candidate in ("blood-cnn", "blood-baseline"):
        promote(candidate)
        before = state()
        shutil.rmtree(paths.champion("blood"))
        decide()
        assert champion()["variant"] == "blood-cnn"
        assert state() == before


def test_a_folder_of_another_champion_gives_way_to_the_recorded_one() -> None:
    promote("blood-baseline")
    shutil.copytree(paths.champion("blood"), "other")
    promote("blood-cnn")
    before = state()
    shutil.rmtree(paths.champion("blood"))
    Path("other").rename(paths.champion("blood"))  # as after `git pull` without `dvc checkout`
    decide()
    assert state() == before


def test_a_folder_that_takes_the_place_of_a_lost_champion_is_told(edit: Edit) -> None:
    promote("blood-baseline")
    shutil.copytree(paths.champion("blood"), "other")
    promote("blood-cnn")
    promote("blood-baseline")
    assert files.read_json(paths.promotion("blood"))["against"]
    shutil.rmtree(paths.champion("blood"))
    Path("other").rename(paths.champion("blood"))
    declare(edit, {name: each for name, each in finished_project.VARIANTS.items() if name != "blood-cnn"})
    record = promote("blood-baseline")
    assert (record["champion"]["variant"], record["against"]) == ("blood-baseline", [])
    assert "holds blood-baseline, not the recorded champion blood-cnn, which cannot be rebuilt" in record["reasons"][0]
    assert decide() == record


def test_a_lost_champion_is_told(edit: Edit) -> None:
    promote("blood-cnn")
    shutil.rmtree(paths.champion("blood"))
    declare(edit, {name: each for name, each in finished_project.VARIANTS.items() if name != "blood-cnn"})
    record = promote("blood-transfer")
    assert record["promoted"]
    assert "The champion blood-cnn is lost: data/blood/champion is empty" in record["reasons"][0]
    assert champion()["reasons"] == record["reasons"][:2]
    assert [earlier["champion"] for earlier in record["history"]] == ["blood-cnn"]


def test_a_champion_outlives_its_variant(edit: Edit) -> None:
    promote("blood-cnn")
    kept = folder_state()
    declare(edit, {name: each for name, each in finished_project.VARIANTS.items() if name != "blood-cnn"})
    for removed in (paths.models("blood", "blood-cnn"), paths.predictions("blood", "blood-cnn")):
        shutil.rmtree(removed)
    record = promote("blood-baseline")
    assert not record["promoted"]
    assert folder_state() == kept
    assert record["checks"]["comparison"]["images"] == len(predictions.test_rows("blood"))


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
    # the folder of a champion of other data stays as it is
    edit_manifest(lambda manifest: manifest.iloc[:-1])
    train_again()
    old_folder = folder_state()
    record = promote("blood-baseline")
    assert not record["promoted"]
    assert folder_state() == old_folder


def test_masks_are_compared_by_the_mean_of_clean_and_shifted(edit: Edit) -> None:
    """Only clean images are compared while the champion was tested under other corruptions."""
    assert promote("mars-baseline", "mars")["promoted"]
    edit("tasks.mars.corruptions", ["noise", "contrast_down", "jpeg"])
    train_again("mars")
    first = promote("mars-unet", "mars")
    assert first["checks"]["comparison"]["metric"] == "mean_iou"
    scores = metric_files.read(paths.scores("mars", "mars-unet"))["mean"]
    assert first["checks"]["comparison"]["candidate"] == pytest.approx(scores["mean_iou"], abs=1e-6)
    second = promote("mars-baseline", "mars")["checks"]["comparison"]
    assert second["metric"] == "robust_mean_iou"
    for name, score in (("mars-baseline", second["candidate"]), ("mars-unet", second["champion"])):
        mean = metric_files.read(paths.scores("mars", name))["mean"]
        assert score == pytest.approx((mean["mean_iou"] + mean["shift_mean_iou"]) / 2, abs=1e-6)
    assert second["low"] < second["difference"] < second["high"] < 0


def test_images_are_matched_by_content_and_truth_not_by_id() -> None:
    one = pd.DataFrame({"id": [0, 1, 2, 3], "content_hash": ["a", "b", "c", "c"], "target": ["0", "1", "2", "2"]})
    other = pd.DataFrame({"id": [0, 1, 2], "content_hash": ["c", "a", "b"], "target": ["2", "0", "7"]})
    here, there = comparison.common(one, other)
    assert (here.tolist(), there.tolist()) == ([0, 2], [1, 0])


def test_no_common_image_leaves_the_candidate_alone() -> None:
    promote("blood-cnn")
    edit_manifest(lambda manifest: manifest.assign(content_hash="new " + manifest["content_hash"]))
    train_again()
    record = promote("blood-baseline")
    assert record["promoted"]
    assert "blood-cnn was tested on none of the present test images" in record["reasons"][0]


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (
            "tasks.mars.classes",
            ["background", "soil", "bedrock", "sand", "boulder"],
            "its classes were background, soil",
        ),
        ("tasks.mars.height", 64, "its images were 32x32 with 1 channels"),
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


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        (lambda: paths.promotion("blood").write_text("<<<<<<<"), "git checkout metrics/blood/promotion.json"),
        (
            lambda: files.write_json(paths.promotion("blood"), {"champion": 1}),
            "promotion.json is damaged ('champion' is 1, not a JSON object",
        ),
        (lambda: drop(paths.promotion("blood"), "candidate", "fingerprints"), "it lacks 'candidate.fingerprints'"),
        (lambda: drop(paths.promotion("blood"), "champion", "reasons"), "it lacks 'champion.reasons'"),
        (
            lambda: drop(paths.champion("blood") / RECORD, "behaviour"),
            "champion.json is damaged (it lacks 'behaviour')",
        ),
        (lambda: (paths.champion("blood") / SCORES).unlink(), "dvc checkout data/blood/champion"),
        (lambda: (paths.champion("blood") / RECORD).write_text("{"), "champion.json is damaged"),
        (lambda: (paths.champion("blood") / TESTED).write_text("PAR1"), "or delete the folder and run `dvc repro`"),
        (lambda: paths.balance_manifest("blood").write_text(""), "run `dvc repro balance@blood`"),
        (lambda: paths.scores("blood", "blood-cnn").unlink(), "run `dvc repro evaluate@blood-cnn`"),
        (lambda: outdate(paths.scores("blood", "blood-cnn")), "belongs to other trainings: run `dvc repro evaluate@"),
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


def test_the_record_tells_how_pictures_get_their_shape(edit: Edit) -> None:
    def record() -> dict[str, Any]:
        settings = params.load()
        task, scores = tasks.make("mars", settings), metric_files.read(paths.scores("mars", "mars-unet"))
        training = {int(seed): run for seed, run in metric_files.read(paths.training("mars", "mars-unet")).items()}
        return contenders.describe(task, settings, row.read("mars", "mars-unet"), training, scores)

    assert task_of(record()).spec.fit == "stretch"
    edit("tasks.mars.fit", "pad")
    assert task_of(record()).spec.fit == "pad"


def test_a_class_of_few_groups_has_the_interval_of_the_draws_that_hold_it(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = params.load()
    task = tasks.make("blood", settings)
    counts = np.zeros((1, 40, len(task.classes), len(task.classes)), np.int64)
    counts[0, :2] = np.eye(len(task.classes))
    monkeypatch.setattr("terracyte.evaluate.confusions.confusions", lambda *_: counts)
    intervals = card.class_intervals(task, pd.DataFrame(), [], settings)
    assert set(intervals.values()) == {(1.0, 1.0)}


def test_the_card_tells_data_scores_limits_and_how_it_was_chosen() -> None:
    promote("blood-baseline")
    promote("blood-cnn")
    text, about = (paths.champion("blood") / CARD).read_text(encoding="utf-8"), champion()
    assert text.startswith("# Blood: a network\n")
    for expected in (
        f"hash `{about['data_hash']}`",
        "It must not be used for decisions on which a person's health or safety depends.",
        "its scores say nothing about real ones",
        "| recall, basophil |",
        "| stain |",
        "- passed: Mirror images keep 95.0 % of the decisions (at least 90.0).",
        "- Better than the champion blood-baseline",
        f"- `{about['fingerprints'][1]}` (seed 1, starts from: random)",
    ):
        assert expected in text
    assert "of the averaged model, which this one is" in text


def test_the_gate_tries_the_flips_of_the_reference(edit: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    told = []

    def examine(task: Task, model: Path, images: Any, flip: str, bounds: Any) -> list[checks.Check]:
        told.append((flip, len(images)))
        return checks.from_record(BEHAVIOUR)

    monkeypatch.setattr(behaviour, "examine", examine)
    edit("reference.blood.flip", "horizontal")
    train_again()
    promote("blood-cnn")
    manifest = pd.read_parquet(paths.balance_manifest("blood"))
    count = min(params.load().promote["blood"].images, int((manifest["split"] == "validation").sum()))
    assert told == [("horizontal", count)]


def test_the_record_has_the_scores_of_all_seeds_together_and_of_validation() -> None:
    runs = metric_files.read(paths.training("blood", "blood-cnn"))
    for seed, run in runs.items():
        run["val_robust_accuracy"] = 0.9 + 0.05 * int(seed)
    metric_files.write(paths.training("blood", "blood-cnn"), {}, runs)
    about = decide()["champion"]
    scores = metric_files.read(paths.scores("blood", "blood-cnn"))
    assert about["together"] == scores["together"]["accuracy"] != about["score"]
    assert about["validation"] == {"metric": "robust_accuracy", "score": 0.925}


def test_the_intervals_of_classes_are_of_the_declared_confidence(edit: Edit) -> None:
    settings = params.load()
    task, rows = make(), predictions.test_rows("blood")
    kept = [predictions.stored("blood", "blood-cnn", seed, rows) for seed in settings.seeds]
    widths = []
    for confidence in (0.5, 0.95):
        edit("evaluate.confidence", confidence)
        found = card.class_intervals(task, rows, kept, params.load())
        widths.append(sum(high - low for low, high in found.values()))
    assert widths[1] > 1.5 * widths[0]


def test_networks_with_folds_are_calibrated_on_what_each_held_out(edit: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    told = []

    def write(task: Task, model: Path, path: Path, folds: Sequence[int]) -> None:
        told.append(list(folds))
        finished_project.calibrate(task, model, path, folds)

    monkeypatch.setattr(calibration, "write", write)
    edit("reference.blood.folds", True)
    edit("seeds", [0, 8])
    for name in finished_project.VARIANTS:
        edit(f"variants.{name}.seeds", [0, 8])
    train_again()
    assert promote("blood-cnn")["promoted"]
    assert champion()["folds"] == [0, 3]  # of five folds
    assert told == [[0, 3]]


def test_the_detector_gets_the_declared_share() -> None:
    promote("blood-cnn")
    share = params.load().promote["blood"].unfamiliar
    assert (paths.champion("blood") / NOVELTY).read_text() == f"blood {share}"


def test_trainings_are_the_same_in_any_order_of_the_seeds() -> None:
    for seed in (0, 1):
        files.write_text(paths.model("blood", "blood-cnn", seed), f"weights {seed}")
    settings, resolved = params.load(), row.read("blood", "blood-cnn")
    scores = metric_files.read(paths.scores("blood", "blood-cnn"))
    training = {int(seed): run for seed, run in metric_files.read(paths.training("blood", "blood-cnn")).items()}
    about, turned = (
        contenders.describe(
            make(),
            settings,
            dataclasses.replace(resolved, seeds=seeds),
            {seed: training[seed] for seed in seeds},
            scores,
        )
        for seeds in ((0, 1), (1, 0))
    )
    assert about["fingerprints"] == turned["fingerprints"][::-1]
    assert same_trainings(about, turned)


def test_the_same_images_in_another_order_have_other_copies_under_shift(edit: Edit) -> None:
    promote("blood-baseline")

    def swap(manifest: pd.DataFrame) -> pd.DataFrame:
        columns = ["content_hash", "label", "group"]
        test = manifest["split"] == "test"
        manifest.loc[test, columns] = manifest.loc[test, columns].to_numpy()[::-1]
        return manifest.astype({"label": np.int64, "group": np.int64})

    edit_manifest(swap)
    train_again()
    found = promote("blood-cnn")["checks"]["comparison"]
    assert (found["images"], found["metric"]) == (len(predictions.test_rows("blood")), "accuracy")


def test_images_that_the_champion_was_not_tested_on_leave_the_clean_score() -> None:
    manifest = pd.read_parquet(paths.balance_manifest("blood"))
    edit_manifest(lambda manifest: manifest.drop(index=manifest.index[manifest["split"] == "test"][-1]))
    train_again()
    promote("blood-baseline")
    files.write_table(paths.balance_manifest("blood"), manifest)
    train_again()
    found = promote("blood-cnn")["checks"]["comparison"]
    assert (found["images"], found["metric"]) == (len(predictions.test_rows("blood")) - 1, "accuracy")


def test_a_p_value_at_the_bound_does_not_promote(edit: Edit) -> None:
    promote("blood-baseline")
    shutil.copytree(paths.METRICS, "kept-metrics")
    shutil.copytree(paths.champion("blood"), "kept-champion")
    found = promote("blood-cnn")["checks"]["comparison"]
    for kept, path in (("kept-metrics", paths.METRICS), ("kept-champion", paths.champion("blood"))):
        shutil.rmtree(path)
        shutil.move(kept, path)
    edit("promote.blood.significance", found["p_value"])
    assert not promote("blood-cnn")["promoted"]


def test_a_drop_at_the_bound_is_allowed_whatever_floating_point_makes_of_it() -> None:
    scores = {"basophil": {"champion": 0.9, "candidate": 0.85}}
    assert 0.9 - 0.85 > 0.05
    assert comparison._class_drop(make(), {"classes": scores, "class_drop": 0.05}).passed


def test_of_rows_with_the_recorded_trainings_the_recorded_one_is_made_again(edit: Edit) -> None:
    variants = {
        "blood-copy": {**finished_project.VARIANTS["blood-cnn"], "title": "a copy"},
        **finished_project.VARIANTS,
    }
    declare(edit, variants)
    initialisation.write(paths.pretrained("blood-copy"), RANDOM)
    train_again()
    promote("blood-cnn")
    promote("blood-baseline")
    before = state()
    shutil.rmtree(paths.champion("blood"))
    decide()
    assert champion()["variant"] == "blood-cnn"
    assert state() == before


def test_the_card_has_each_figure_in_its_place_and_the_limits_that_apply() -> None:
    promote("blood-cnn")
    settings, task, rows, about = params.load(), make(), predictions.test_rows("blood"), champion()
    scores = files.read_json(paths.champion("blood") / SCORES)
    kept = [predictions.stored("blood", "blood-cnn", seed, rows) for seed in settings.seeds]
    intervals = card.class_intervals(task, rows, kept, settings)
    text = (paths.champion("blood") / CARD).read_text(encoding="utf-8")
    summary = files.read_json(paths.balance("blood"))["splits"]
    counts = [summary[split]["classes"] for split in ("train", "validation", "test")]
    lines = [f"| {name} | {' | '.join(str(each[name]) for each in counts)} |" for name in task.classes]
    lines += [
        f"| recall, {name} | {formats.estimate(scores['mean']['per_class'][name]['recall'], *intervals[name])} |"
        for name in task.classes
    ]
    lines.append(f"| validation: robust accuracy | {formats.percent(about['validation']['score'])} |")
    lines.append(f"- Tested on {about['images']} images only: the intervals are wide.")
    assert [line for line in lines if line not in text.splitlines()] == []
    assert "not available" not in text
    other = {**about, "source": "folder", "initialisation": NOT_TO_BE_HAD, "images": 500, "together": 0.123}
    text = card.card(task, other, scores, intervals)
    assert "| accuracy of the averaged model, which this one is | 12.3 |" in text
    assert "pretrained weights were not available" in text
    assert "drawn images" not in text
    assert "images only" not in text
