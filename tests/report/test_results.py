"""Rows on real data: added, kept, compared, refused, shown. MLflow and git are replaced where they would be slow."""

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from terracyte import params, tasks, tracking
from terracyte.core import files, metric_files, paths
from terracyte.core import git as commit
from terracyte.core.errors import InputError
from terracyte.report import results
from tests import finished_project
from tests.conftest import ROOT, Edit

FIRST = {
    "blood": [
        *("variant", "seeds", "accuracy", "accuracy_low", "accuracy_high"),
        *("shift_accuracy", "shift_accuracy_low", "shift_accuracy_high"),
    ],
    "mars": ["variant", "seeds", "mean_iou", "mean_iou_low", "mean_iou_high"],
}
COMMIT = "0123456789ab"
CLOCKS = {"training_seconds": 600.0, "images_per_second": 50.0}


@pytest.fixture
def trained(finished: Path, edit: Edit, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished project that seems to be trained on real data with committed code."""
    for task in params.TASKS:
        edit(f"data.{task}.source", "challenge")
    paths.README.write_text("Before\n<!-- real:begin --><!-- real:end -->\nAfter\n", encoding="utf-8")
    monkeypatch.setattr(commit, "of_code", lambda: COMMIT)
    monkeypatch.setattr(results, "_changed", lambda names: {})
    monkeypatch.setattr(tracking, "measured", lambda task, fingerprints: [CLOCKS for _ in fingerprints])
    return finished


def add(*names: str, hardware: str = "2 cores") -> dict[str, dict[str, Any]]:
    """The blood rows afterwards."""
    results.add(params.load(), names, hardware)
    return results.read("blood")


def retrain(variant: str) -> None:
    """Train and evaluate a blood variant under the present params."""
    settings = params.load()
    task = tasks.make("blood", settings)
    finished_project.train(task, variant, settings)
    finished_project.evaluate(task, variant, settings)


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize("task", params.TASKS)
def test_a_row_holds_what_was_measured(task: str) -> None:
    assert results.add(params.load(), [], "2 cores") == []
    rows = results.read(task)
    assert list(rows) == [name for name in finished_project.VARIANTS if name.startswith(task)]
    row, scores = list(rows.values())[1], metric_files.read(paths.scores(task, list(rows)[1]))
    for name in (column for column in FIRST[task] if column in scores["mean"]):
        assert row[name] == scores["mean"][name]
        assert [row[f"{name}_low"], row[f"{name}_high"]] == scores["interval"][name]
    assert (row["seeds"], row["epochs"], row["parameters"], row["initialisation"]) == ("0 1", "6 6", 123456, "random")
    assert (row["training_seconds"], row["images_per_second"]) == (600, 50)
    assert (row["commit"], row["hardware"]) == (COMMIT, "2 cores")
    assert scores["data_hash"].startswith(row["data_hash"])
    assert scores["fingerprints"]["1"].startswith(row["fingerprint"].split()[1])
    assert row["difference_low"] < row["difference"] < row["difference_high"]
    assert 0 < row["p_value"] < 0.05
    with paths.results_csv(task).open(encoding="utf-8") as file:
        assert next(csv.reader(file))[: len(FIRST[task])] == FIRST[task]


@pytest.mark.usefixtures("trained")
def test_a_row_is_replaced_and_the_others_stay(edit: Edit) -> None:
    before = add()
    edit("variants.blood-cnn.change", {"width": 8})
    retrain("blood-cnn")
    after = add("blood-cnn", hardware="a GPU")
    assert list(after) == list(before)
    assert repr(after["blood-baseline"]) == repr(before["blood-baseline"])
    assert after["blood-cnn"]["fingerprint"] != before["blood-cnn"]["fingerprint"]
    assert [row["hardware"] for row in after.values()] == ["2 cores", "a GPU", "2 cores"]


@pytest.mark.usefixtures("trained")
def test_adding_twice_changes_no_byte() -> None:
    add()
    before = paths.results_csv("blood").read_bytes()
    add("blood-transfer")
    assert paths.results_csv("blood").read_bytes() == before


@pytest.mark.usefixtures("trained")
def test_rows_stand_in_the_order_of_params_and_removed_variants_go(edit: Edit) -> None:
    add("blood-transfer")
    assert list(add("blood-baseline")) == ["blood-baseline", "blood-transfer"]
    variants = {name: variant for name, variant in finished_project.VARIANTS.items() if name != "blood-transfer"}
    edit("variants", variants)
    assert list(add("blood-cnn")) == ["blood-baseline", "blood-cnn"]
    kept = sorted(file.stem for file in paths.RESULTS.glob("counts/blood-*.npz"))
    assert kept == ["blood-baseline", "blood-cnn"]


@pytest.mark.usefixtures("trained")
def test_differences_are_to_the_row_above_as_the_table_stands() -> None:
    apart = add("blood-baseline", "blood-transfer")["blood-transfer"]
    assert apart["compared_with"] == "blood-baseline"
    between = add("blood-cnn")
    assert [row["compared_with"] for row in between.values()] == ["", "blood-baseline", "blood-cnn"]
    assert between["blood-transfer"]["difference"] == pytest.approx(
        between["blood-transfer"]["accuracy"] - between["blood-cnn"]["accuracy"]
    )
    assert between["blood-transfer"]["difference"] < apart["difference"]


@pytest.mark.usefixtures("trained")
def test_a_variant_may_name_the_row_that_it_is_compared_with(edit: Edit) -> None:
    edit("variants.blood-transfer.compared_with", "blood-baseline")
    rows = add()
    assert rows["blood-transfer"]["compared_with"] == "blood-baseline"
    gained = rows["blood-transfer"]["accuracy"] - rows["blood-baseline"]["accuracy"]
    assert rows["blood-transfer"]["difference"] == pytest.approx(gained)


@pytest.mark.usefixtures("trained")
def test_rows_are_compared_without_their_predictions() -> None:
    at_once = add()
    for file in (*paths.RESULTS.glob("*.csv"), *paths.RESULTS.glob("counts/*")):
        file.unlink()
    add("blood-baseline", "blood-transfer")
    paths.prediction("blood", "blood-transfer", 0).unlink()
    paths.prediction("blood", "blood-baseline", 0).unlink()
    assert repr(add("blood-cnn")) == repr(at_once)


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize("spoiled", ["missing", "of other predictions", "of other data"])
def test_a_difference_without_its_counts_stays_until_a_row_comes_between(spoiled: str) -> None:
    before = add("blood-baseline", "blood-transfer")["blood-transfer"]
    file = paths.RESULTS / "counts/blood-transfer.npz"
    if spoiled == "missing":
        file.unlink()
    else:
        data, run = before["data_hash"], before["fingerprint"]
        other = f"{data} 012345678901" if spoiled == "of other predictions" else f"012345678901 {run}"
        files.write_arrays(file, {**files.read_arrays(file), "run": np.array(other)})
    assert repr(add("blood-baseline")["blood-transfer"]) == repr(before)
    after = add("blood-cnn")["blood-transfer"]
    assert np.isnan([after[name] for name in ("difference", "difference_low", "difference_high", "p_value")]).all()
    assert after["compared_with"] == "blood-cnn"
    assert after["accuracy"] == before["accuracy"]
    assert np.isfinite(add("blood-transfer")["blood-transfer"]["difference"])


@pytest.mark.usefixtures("trained")
def test_rows_on_other_data_are_not_compared() -> None:
    add("blood-baseline", "blood-transfer")
    rows = [{**row, "data_hash": "012345678901"} for row in results.read("blood").values()]
    files.write_csv(paths.results_csv("blood"), pd.DataFrame(rows))
    assert np.isnan(add("blood-cnn")["blood-cnn"]["difference"])


def widen(edit: Edit, _: pytest.MonkeyPatch) -> None:
    edit("reference.blood.width", 99)


def forget(edit: Edit, _: pytest.MonkeyPatch) -> None:
    del edit
    paths.scores("blood", "blood-cnn").unlink()


def draw(edit: Edit, _: pytest.MonkeyPatch) -> None:
    edit("data.blood.source", "sample")


def recode(_: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    stale = {"train@blood-cnn": [{"changed deps": {"terracyte/train/fit.py": "modified"}}]}
    monkeypatch.setattr(results, "_changed", lambda names: stale)


STALE: list[tuple[Callable[[Edit, pytest.MonkeyPatch], None], str]] = [
    (widen, "does not belong to the present params and data"),
    (forget, r"blood-cnn\.json is missing"),
    (draw, r"'data\.blood\.source' is 'sample'"),
    (recode, r"train@blood-cnn is out of date.*terracyte/train/fit\.py"),
]


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize(("spoil", "message"), STALE)
def test_refuses_a_named_row_that_is_not_of_the_present_and_leaves_it_out_otherwise(
    edit: Edit, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Edit, pytest.MonkeyPatch], None], message: str
) -> None:
    spoil(edit, monkeypatch)
    with pytest.raises(InputError, match=message):
        add("mars-unet", "blood-cnn")
    assert not paths.results_csv("mars").exists()
    left_out = results.add(params.load(), [], "2 cores")
    assert [reason for reason in left_out if reason.startswith("blood-cnn: ")]
    assert "blood-cnn" not in results.read("blood")
    assert list(results.read("mars")) == ["mars-baseline", "mars-unet"]


@pytest.mark.usefixtures("trained")
def test_the_readme_shows_the_rows_and_how_to_train_them_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["results", "--hardware", "2 cores of a kind", "blood-cnn"])
    results.main()
    text = paths.README.read_text(encoding="utf-8")
    assert text.startswith("Before\n<!-- real:begin -->\n### Blood\n\n| variant | what it is |")
    assert text.endswith("<!-- real:end -->\nAfter\n")
    assert 'TARGETS="evaluate@blood-cnn"' in text
    assert "| 10.0 | 50 |" in text
    assert "2 cores of a kind" in text
    assert "No row yet." in text[text.index("### Mars") :]
    monkeypatch.setattr(sys, "argv", ["results"])
    results.main()
    assert paths.README.read_text(encoding="utf-8") == text


@pytest.mark.usefixtures("trained")
def test_a_readme_without_the_block_is_refused_before_anything_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    paths.README.write_text("nothing", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["results", "--hardware", "2 cores"])
    with pytest.raises(InputError, match="must stand in it once"):
        results.main()
    assert not paths.RESULTS.exists()


def test_variants_need_their_hardware_in_one_line(project: Path) -> None:
    command = [sys.executable, "-m", "terracyte.report.results", "mars-unet_1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr == "error: --hardware is missing: say what the variants were trained on\n"


def test_code_that_differs_from_its_commit_is_refused(project: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
        subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)

    with pytest.raises(InputError, match="git names no commit"):
        commit.of_code()
    code = project / "terracyte" / "fitting.py"
    files.write_text(code, "x = 1\n")
    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    params_file = project / "params.yaml"
    params_file.write_text(f"{params_file.read_text(encoding='utf-8')}\n", encoding="utf-8")
    assert len(commit.of_code()) == 12
    files.write_text(code, "x = 2\n")
    with pytest.raises(InputError, match=r"terracyte/train/fit\.py differs from its commit"):
        commit.of_code()


def test_dvc_finds_what_changed_since_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stage = "{foreach: [one], do: {cmd: 'true', deps: [code.py]}}"
    files.write_text(tmp_path / "dvc.yaml", f"stages:\n  train: {stage}\n  evaluate: {stage}\n")
    files.write_text(tmp_path / "code.py", "x = 1\n")
    files.write_text(tmp_path / ".dvc/config", "[core]\n    no_scm = true\n    analytics = false\n")
    subprocess.run([sys.executable, "-m", "dvc", "--quiet", "repro"], check=True)
    stages = ["train@one", "evaluate@one"]
    assert results._changed(stages) == {}
    files.write_text(tmp_path / "code.py", "x = 2\n")
    assert set(results._changed(stages)) == set(stages)
    with pytest.raises(InputError, match="dvc status"):
        results._changed(["train@two"])


@pytest.mark.usefixtures("trained")
def test_training_and_evaluation_of_a_row_must_be_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def changed(stages: list[str]) -> dict[str, list[str]]:
        asked.append(stages)
        return {"evaluate@blood-cnn": []}

    monkeypatch.setattr(results, "_changed", changed)
    with pytest.raises(InputError, match="evaluate@blood-cnn is out of date"):
        add("blood-cnn")
    assert asked == [["train@blood-cnn", "evaluate@blood-cnn"]]


def test_the_real_tables_begin_as_prescribed_and_hold_declared_variants_only() -> None:
    declared = params.load(ROOT / "params.yaml")
    for file in (ROOT / paths.RESULTS).glob("*.csv"):
        with file.open(encoding="utf-8") as stream:
            header, *rows = csv.reader(stream)
        task = file.stem.removeprefix("tuned_")  # there: a reference with and without a search's winner
        assert header[: len(FIRST[task])] == FIRST[task]
        variants = [row[0] for row in rows]
        assert variants == [name for name in declared.variants_of(task) if name in variants]
        assert all(dict(zip(header, row, strict=True))[name] for row in rows for name in ("commit", "hardware"))


def test_the_readme_shows_the_real_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert paths.README.read_text(encoding="utf-8") == results.with_rows(params.load())


@pytest.mark.usefixtures("trained")
def test_a_search_is_kept_with_its_origin() -> None:
    results.add_search(params.load(), "mars", "2 cores")
    kept = files.read_json(paths.RESULTS / "tuning_mars.json")
    assert (kept["commit"], kept["hardware"]) == (COMMIT, "2 cores")
    assert kept["data_hash"] == metric_files.read(paths.scores("mars", "mars-unet"))["data_hash"]
    assert kept["trials"] == finished_project.TUNING["trials"]
    assert kept["best"] == finished_project.TUNING["best"]


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize(
    ("prepare", "expected"),
    [
        (lambda edit, patch: edit("data.mars.source", "sample"), "'data.mars.source' is 'sample', which is drawn"),
        (
            lambda edit, patch: patch.setattr(results, "_changed", lambda stages: {stages[0]: ["changed params"]}),
            "tune@mars is out of date",
        ),
        (
            lambda edit, patch: files.write_json(paths.tuning("mars"), {**finished_project.TUNING, "trials": []}),
            "holds no trial: set tune.mars.trials",
        ),
    ],
)
def test_a_search_that_is_stale_empty_or_of_drawn_images_is_refused(
    edit: Edit, monkeypatch: pytest.MonkeyPatch, prepare: Callable[..., object], expected: str
) -> None:
    prepare(edit, monkeypatch)
    with pytest.raises(InputError, match=expected):
        results.add_search(params.load(), "mars", "2 cores")
    assert not paths.RESULTS.exists()
