"""The gate and the comment of a retraining; tests/retrain/test_pipeline.py runs it for real."""

import contextlib
import dataclasses
import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from terracyte import cli, params, tasks
from terracyte.core import paths
from terracyte.core.errors import InputError
from terracyte.retrain import comment, results, retraining, revision
from terracyte.retrain.comment import Comparison, Retrained
from terracyte.retrain.gate import judge
from terracyte.retrain.results import Results
from tests.conftest import ROOT, TASKS, commit, git

BLOOD = tasks.make("blood", params.load(ROOT))


def scored(accuracy: object, shift: object = 0.7, data: str = "a") -> dict[str, Any]:
    interval = {"accuracy": [0.7, 0.9], "shift_accuracy": [0.6, 0.8]}
    return {"mean": {"accuracy": accuracy, "shift_accuracy": shift}, "interval": interval, "data_hash": data}


def of(scores: Mapping[str, Any], *others: str, champion: str | None = "cnn", promoted: bool = True) -> Results:
    return Results(variants=(*scores, *others), scores=scores, champion=champion, promoted=promoted)


BASE = of({"cnn": scored(0.8)})


@pytest.mark.parametrize("accuracy", [0.7, 0.75, 0.99])
def test_a_champion_within_or_above_its_interval_passes(accuracy: float) -> None:
    verdict = judge(BLOOD, BASE, of({"cnn": scored(accuracy)}))
    assert verdict.passed
    assert "80.0 % with an interval of 70.0 to 90.0 %" in " ".join(verdict.notes)
    assert verdict.notes[0] == "The champion `cnn` was promoted at the base."


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (of({"cnn": scored(0.699)}), "accuracy of the champion `cnn` fell to 69.9 %; it was 80.0 %"),
        (of({"cnn": scored(0.6999)}), "fell to 69.99 %; it was 80.00 % with an interval of 70.00 to 90.00 %"),
        (of({"cnn": scored(0.8, shift=0.5)}), "shift accuracy of the champion `cnn` fell to 50.0 %; it was 70.0 %"),
        (of({"cnn": scored(math.nan)}), "accuracy of the champion `cnn` is missing or no number; it was 80.0 %"),
        (of({"cnn": scored(None)}), "accuracy of the champion `cnn` is missing or no number"),
        (of({"cnn": {}}), "accuracy of the champion `cnn` is missing or no number"),
        (of({"other": scored(0.99)}), "The champion `cnn` is no longer a row: keep it in experiment.yaml"),
        (of({}, "cnn"), "The champion `cnn` has no scores: metrics/blood/scores/cnn.json is missing"),
    ],
)
def test_what_stops_a_change_is_said(head: Results, reason: str) -> None:
    verdict = judge(BLOOD, BASE, head)
    assert not verdict.passed
    assert reason in " ".join(verdict.reasons)


def test_what_is_missing_is_named_by_its_experiment() -> None:
    (reason,) = judge(BLOOD, BASE, of({}, "cnn"), Path("real")).reasons
    assert "real/metrics/blood/scores/cnn.json" in reason


@pytest.mark.parametrize(("accuracy", "passes"), [(0.91, True), (0.89, False)])
def test_a_perfect_score_leaves_room_for_few_errors(accuracy: float, passes: bool) -> None:
    perfect = {**scored(1.0), "interval": {"accuracy": [1.0, 1.0]}, "groups": 30}
    assert judge(BLOOD, of({"cnn": perfect}), of({"cnn": scored(accuracy)})).passed == passes


def test_other_variants_may_fall() -> None:
    base = of({"cnn": scored(0.8), "other": scored(0.8)})
    assert judge(BLOOD, base, of({"cnn": scored(0.8), "other": scored(0.1)})).passed


def test_without_a_champion_at_the_base_there_is_nothing_to_compare() -> None:
    for base in (of({}, champion=None), of({}, "cnn")):
        assert judge(BLOOD, base, of({"cnn": scored(0.1)})).passed


def test_other_data_are_noted() -> None:
    verdict = judge(BLOOD, BASE, of({"cnn": scored(0.8, data="b")}))
    assert "different test images" in " ".join(verdict.notes)


@pytest.mark.parametrize("bounds", [0.7, [0.7], [0.7, None], [math.nan, 0.9]])
def test_a_malformed_interval_of_the_base_is_bad_input(bounds: object) -> None:
    broken = {**scored(0.8), "interval": {"accuracy": bounds}}
    with pytest.raises(InputError, match="interval of cnn's accuracy"):
        judge(BLOOD, of({"cnn": broken}), of({"cnn": scored(0.8)}))


def test_a_champion_without_interval_is_no_licence_to_fall() -> None:
    assert not judge(BLOOD, of({"cnn": {**scored(0.8), "interval": {}}}), of({"cnn": scored(0.1)})).passed


@pytest.fixture
def repository(finished: Path) -> Path:
    """The finished project as the one commit of a repository, before anything was promoted."""
    for task in TASKS:
        paths.promotion(task).unlink()
    commit()
    return finished


def test_results_of_a_commit_stay_when_the_working_tree_changes(repository: Path) -> None:
    before = results.gather(BLOOD, revision.at(revision.common_commit("main")))
    assert before == results.gather(BLOOD, revision.working_tree())
    assert (before.champion, before.promoted) == ("blood-cnn", False)  # the best by validation, the first of equals
    paths.scores("blood", "blood-cnn").unlink()
    paths.promotion("blood").write_text(json.dumps({"champion": {"variant": "blood-transfer"}}))
    assert results.gather(BLOOD, revision.at("HEAD")) == before
    after = results.gather(BLOOD, revision.working_tree())
    assert (after.champion, after.promoted) == ("blood-transfer", True)
    assert not judge(BLOOD, before, after).passed


def test_a_base_that_was_chosen_by_another_score_has_no_champion(repository: Path) -> None:
    for variant in results.gather(BLOOD, revision.working_tree()).variants:
        path = paths.training("blood", variant)
        path.write_text(path.read_text().replace(f"val_{BLOOD.selection}", "val_other"))
    assert results.gather(BLOOD, revision.working_tree()).champion is None


def test_an_experiment_in_a_folder_has_results_of_its_own(repository: Path) -> None:
    real = Path("real")
    shutil.copytree(paths.METRICS, real / paths.METRICS)
    (real / paths.PARAMS).symlink_to(Path("..") / paths.PARAMS)
    (real / paths.EXPERIMENT).write_text("rows: {blood-transfer: blood, mars-baseline: mars}\n", encoding="utf-8")
    new = results.gather(BLOOD, revision.at("HEAD", real))
    assert (new.variants, new.champion) == ((), None)  # the base does not have it yet
    commit()
    paths.scores("blood", "blood-transfer").unlink()
    found = results.gather(BLOOD, revision.at("HEAD", real))
    assert found == results.gather(BLOOD, revision.working_tree(real))
    assert (found.variants, list(found.scores)) == (("blood-transfer",), ["blood-transfer"])


def test_bad_input_is_one_line(repository: Path) -> None:
    with pytest.raises(InputError, match="no commit that 'elsewhere' and HEAD have in common"):
        revision.common_commit("elsewhere")
    paths.scores("blood", "blood-cnn").write_text("{")
    with pytest.raises(InputError, match=r"blood-cnn\.json is not valid JSON"):
        results.gather(BLOOD, revision.working_tree())
    # the comment reports it, too
    with pytest.raises(InputError):
        retraining.retrain("elsewhere", [Path()])
    text = (retraining.OUTPUT / "comment.md").read_text(encoding="utf-8")
    assert text.startswith("## Retraining: failed")
    assert "elsewhere" in text


def test_a_promoted_champion_without_scores_gives_way_to_the_best_by_validation(repository: Path) -> None:
    paths.promotion("blood").write_text(json.dumps({"champion": {"variant": "blood-gone"}}))
    found = results.gather(BLOOD, revision.working_tree())
    assert (found.champion, found.promoted) == ("blood-cnn", False)


def test_what_git_cannot_read_is_not_taken_for_absent(repository: Path) -> None:
    scores = paths.scores("blood", "blood-cnn")
    blob = git("rev-parse", f"HEAD:{scores}")
    (Path(".git/objects") / blob[:2] / blob[2:]).unlink()  # as in a partial clone whose remote is out of reach
    with pytest.raises(InputError, match=r"git cannot read .*blood-cnn\.json at .*: fetch the whole history"):
        results.gather(BLOOD, revision.at("HEAD"))


def retrained(head: Results, *changed: str, experiment: str = ".") -> Retrained:
    found = Comparison(task=BLOOD, base=BASE, head=head, verdict=judge(BLOOD, BASE, head))
    return Retrained(experiment=Path(experiment), changed=changed, comparisons=[found])


def test_the_comment_shows_before_after_and_why_it_stopped() -> None:
    outcome = retrained(of({"cnn": scored(0.5), "new": scored(0.9)}), "train@new", "evaluate@new")
    text = comment.write("origin/main", 40 * "a", [outcome], "| numbers |", promoted=False)
    assert "## Retraining: stopped by the gate" in text
    assert "Brought up to date: **1 training** (`new`); other stages: `evaluate@new`." in text
    assert "\n### Blood\n" in text
    assert "**Stopped.** The accuracy of the champion `cnn` fell to 50.0 %" in text
    assert "| `cnn` (champion) | 80.0 | 50.0 | \u221230.0 | 70.0 | 70.0 | +0.0 |" in text
    assert "| `new` (new) | \u2013 | 90.0 | \u2013 |" in text
    assert "No champion was promoted: the gate stopped the change." in text
    assert "| numbers |" in text


def test_the_comment_says_that_nothing_ran_and_that_branches_promote_nothing() -> None:
    text = comment.write("main", 40 * "a", [retrained(of({"cnn": scored(0.8)}))], "", promoted=False)
    assert "## Retraining: passed" in text
    assert "no stage ran" in text
    assert "on the main branch only" in text
    assert "<details>" not in text


def test_the_comment_says_that_promote_ran_where_it_did() -> None:
    head, told = of({"cnn": scored(0.8)}), "`promote` ran"
    assert told in comment.write("main", 40 * "a", [retrained(head, "promote@blood")], "", promoted=True)
    text = comment.write("main", 40 * "a", [retrained(head)], "", promoted=True)
    assert told not in text
    assert "No champion was decided on: nothing that `promote` depends on has changed." in text


def test_the_comment_names_the_experiment_in_a_folder() -> None:
    root, real = retrained(BASE), retrained(of({"cnn": scored(0.5)}), "train@cnn", experiment="real")
    text = comment.write("main", 40 * "a", [root, real], "", promoted=False)
    assert "## Retraining: stopped by the gate" in text
    assert "Nothing was out of date: no stage ran." in text
    assert "Brought up to date in `real`: **1 training** (`cnn`)." in text
    assert "\n### Blood\n" in text
    assert "\n### Blood in `real`\n\n**Stopped.**" in text


def test_names_cannot_break_out_of_the_comment() -> None:
    head = of({"cnn": scored(0.8), "a`\n\n# |<img>": scored(0.8)})
    text = comment.write("main", 40 * "a", [retrained(head)], "", promoted=False)
    assert "`a' # /<img>` (new)" in text


def test_a_comment_fits_what_github_takes() -> None:
    long = of({f"variant-{i}": scored(0.8) for i in range(2000)})
    for heads, details in ((long, "x" * comment.LIMIT), (long, ""), (BASE, "x" * comment.LIMIT)):
        text = comment.write("main", 40 * "a", [retrained(heads)], details, promoted=False)
        assert len(text) <= comment.LIMIT
        assert text.endswith("The rest is too long for a comment: see the files of this run.\n")


def test_the_base_is_the_commit_where_the_change_left_it(repository: Path) -> None:
    left = git("rev-parse", "HEAD")
    git("switch", "--quiet", "--create", "change")
    git("switch", "--quiet", "main")
    git("commit", "--quiet", "--allow-empty", "-m", "later")
    git("switch", "--quiet", "change")
    git("commit", "--quiet", "--allow-empty", "-m", "the change")
    assert revision.common_commit("main") == left


def test_an_interval_of_a_perfect_score_of_few_groups_ends_at_nought() -> None:
    perfect = {**scored(1.0), "interval": {"accuracy": [1.0, 1.0]}, "groups": 2}
    verdict = judge(BLOOD, of({"cnn": perfect}, promoted=False), of({"cnn": scored(0.5)}))
    assert verdict.notes[0] == "The champion `cnn` was the best by validation at the base."
    assert "100.0 % with an interval of 0.0 to 100.0 %" in verdict.notes[1]


def test_the_comment_shows_removed_rows_and_counts_what_it_does_not_list() -> None:
    base, head = of({"cnn": scored(0.8), "old": scored(0.75)}), of({"cnn": scored(0.8)})
    found = Comparison(task=BLOOD, base=base, head=head, verdict=judge(BLOOD, base, head))
    changed = [f"train@row-{number}" for number in range(14)]
    outcome = Retrained(experiment=Path(), changed=changed, comparisons=[found])
    text = comment.write("main", 40 * "a", [outcome], "", promoted=False)
    assert "| `old` (removed) | 75.0 | \u2013 | \u2013 |" in text
    assert "**14 trainings** (`row-0`, " in text
    assert "`row-11` and 2 more)" in text
    two = dataclasses.replace(outcome, changed=changed[:2])
    assert "**2 trainings** (`row-0`, `row-1`)" in comment.write("main", 40 * "a", [two], "", promoted=False)


def test_a_row_of_which_one_training_has_no_score_is_not_chosen(repository: Path) -> None:
    for variant in results.gather(BLOOD, revision.working_tree()).variants:
        path = paths.training("blood", variant)
        path.write_text(path.read_text().replace(f"val_{BLOOD.selection}", "val_other", 1))
    assert results.gather(BLOOD, revision.working_tree()).champion is None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], {"promote": False, "push": True, "update": False}),
        (["--promote", "--no-push", "--update"], {"promote": True, "push": False, "update": True}),
    ],
)
def test_the_command_asks_for_what_its_options_say(
    options: list[str], expected: dict[str, bool], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def retrain(base: str, experiments: list[Path], **given: bool) -> bool:
        asked.append((base, experiments, given))
        return "--promote" not in options

    monkeypatch.setattr(retraining, "retrain", retrain)
    (project / "real").mkdir()
    for folder in (project, project / "real"):
        (folder / "dvc.yaml").touch()
    named = ["--experiment", "real"] if options else []
    with pytest.raises(SystemExit) if options else contextlib.nullcontext() as end:
        cli.main(["retrain", "--base", "origin/main", *options, *named])
    assert end is None or end.value.code == 3
    assert asked == [("origin/main", [Path("real") if options else Path()], expected)]
