"""Tables and page of a finished project; a list replaces MLflow."""

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pandas as pd
import pytest

from stages import report as stage
from terracyte import params, tasks, tracking
from terracyte.core import files, metric_files, paths
from terracyte.core.errors import InputError
from terracyte.evaluate import confusions, predictions
from terracyte.fetch import initialisation
from terracyte.params.row import NOT_TO_BE_HAD, RANDOM
from terracyte.rendering import charts, formats
from terracyte.rendering.pictures import painted
from terracyte.report import ablation as ablations
from terracyte.report import champions, examples, figures, records, runs, tables
from terracyte.report import page as pages
from terracyte.serve import registry
from tests import finished_project
from tests.conftest import TASKS, Edit


@pytest.fixture
def reported(reported_template: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a finished report, which is the working directory; tests must not change it."""
    monkeypatch.chdir(reported_template)
    return reported_template


@pytest.fixture
def logged(finished: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Prepare a finished project; collect in a list what the report tells MLflow."""
    told: list[Any] = []
    monkeypatch.setattr(tracking, "reconcile", lambda task, runs: told.append((task, runs)))
    monkeypatch.setattr(tracking, "log_study", lambda *_: None)
    monkeypatch.setattr(tracking, "log_report", lambda task, pages: told.append((task, pages)))
    monkeypatch.setattr(registry, "register", lambda task, entries: told.append((task, entries)))
    return told


def report(*chosen: str) -> None:
    """Run the stage for the chosen tasks, or for all."""
    for task in chosen or TASKS:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["report", task])
            stage.main()


def page(task: str) -> str:
    return paths.report(task).read_text(encoding="utf-8")


def test_masks_under_shift_have_columns_tables_and_a_chart(logged: list[Any], edit: Edit) -> None:
    names = ["noise", "brightness_up", "defocus_blur"]
    edit("tasks.mars.corruptions", names)
    made_again("mars")
    mean = metric_files.read(paths.scores("mars", "mars-unet"))["mean"]
    row = ablation("mars")["mars-unet"]
    assert [row[f"corruption_{name}"] for name in names] == pytest.approx([mean["shift"][name] for name in names])
    assert [row[f"severity_{step}"] for step in range(1, 6)] == pytest.approx(mean["shift_severity"])
    assert row["shift_mean_iou_low"] < row["shift_mean_iou"] < row["shift_mean_iou_high"]
    text = paths.ablation_markdown("mars").read_text()
    assert "Mean IoU under each corruption, mean of its severities, %" in text
    assert "mean IoU by corruption, worst to best: mars-baseline" in page("mars")
    card = (paths.champion("mars") / "card.md").read_text()
    assert "images from other sources may differ in other ways" in card


def test_masks_without_a_background_are_reported_whole(logged: list[Any], edit: Edit) -> None:
    edit("tasks.mars.background", None)
    made_again("mars")
    assert "iou_background" in ablation("mars")["mars-unet"]
    card = (paths.champion("mars") / "card.md").read_text()
    assert "as one of: background, soil, bedrock, sand, big rock.\n" in card


def made_again(name: str) -> None:
    """Make all rows of a task, its champion and its report again, after a change of the task's block."""
    settings = params.load()
    task = tasks.make(name, settings)
    finished_project.configure(name)
    for variant in settings.rows_of(name):
        finished_project.train(task, variant)
        finished_project.evaluate(task, variant, settings)
    finished_project.promote(task, settings)
    report(name)


def ablation(task: str) -> dict[str, Any]:
    rows = pd.read_csv(paths.ablation_csv(task), index_col="variant").to_dict("index")
    return {str(variant): row for variant, row in rows.items()}


@pytest.mark.usefixtures("reported")
def test_rows_are_the_scores_in_the_order_of_params() -> None:
    rows = ablation("mars")
    assert list(rows) == ["mars-baseline", "mars-unet"]
    baseline, row, scores = *rows.values(), metric_files.read(paths.scores("mars", "mars-unet"))
    assert row["mean_iou"] == row["score"] == scores["mean"]["mean_iou"]
    assert row["code"] == "0123456789ab"
    assert [row["mean_iou_low"], row["mean_iou_high"]] == scores["interval"]["mean_iou"]
    assert row["mean_iou_together"] == scores["together"]["mean_iou"] != row["mean_iou"]
    assert "mean IoU of all seeds together, %" in paths.ablation_markdown("mars").read_text(encoding="utf-8")
    assert row["course_mean_iou"] == scores["mean"]["course_mean_iou"]
    assert row["iou_big_rock"] == scores["mean"]["per_class"]["big rock"]["iou"]
    assert row["difference"] == pytest.approx(row["mean_iou"] - baseline["mean_iou"])
    assert row["difference_low"] < row["difference"] < row["difference_high"]
    assert 0 < row["p_value"] < 0.05
    assert (row["seeds"], row["best_epoch"], row["parameters"]) == ("0 1", "4 4", 123456)
    assert (row["published"], row["title"]) == (0.7322, "a network | with a pipe")
    assert row["data_hash"] == scores["data_hash"][:12]
    assert row["fingerprint"] == " ".join(scores["fingerprints"][seed][:12] for seed in ("0", "1"))
    assert np.isnan([baseline[name] for name in ("difference", "difference_low", "p_value", "published")]).all()


def test_a_marked_row_says_why_and_an_unpublished_task_has_no_such_column(logged: list[Any], edit: Edit) -> None:
    edit("variants.mars-unet.marked", "the challenge forbids it")
    edit("variants.mars-unet.published", None)
    report("mars")
    markdown = paths.ablation_markdown("mars").read_text(encoding="utf-8")
    assert "| a network \\| with a pipe † |" in markdown
    assert '<span class="name">a network | with a pipe †</span>' in page("mars")
    for text in (markdown, page("mars")):
        assert "† the challenge forbids it: mars-unet." in text
        assert "published (other" not in text
        assert "Published scores" not in text
        assert "published, on another test set" not in text


@pytest.mark.usefixtures("reported")
def test_scores_under_shift_are_columns_where_the_task_has_them() -> None:
    row, mean = ablation("blood")["blood-cnn"], metric_files.read(paths.scores("blood", "blood-cnn"))["mean"]
    assert row["shift_accuracy"] == mean["shift_accuracy"]
    assert row["shift_accuracy_low"] < row["shift_accuracy"] < row["shift_accuracy_high"]
    assert row["corruption_stain"] == mean["shift"]["stain"]
    assert [row[f"severity_{severity}"] for severity in range(1, 6)] == mean["shift_severity"]
    assert "shift accuracy, %" in paths.ablation_markdown("blood").read_text(encoding="utf-8")
    assert not [name for name in ablation("mars")["mars-unet"] if name.startswith(("shift", "corruption", "severity"))]
    assert "accuracy by corruption" in page("blood")


@pytest.mark.usefixtures("reported")
def test_tables_say_what_a_variant_starts_from_if_any_owes_something_to_others() -> None:
    main = {task: paths.ablation_markdown(task).read_text(encoding="utf-8").splitlines() for task in TASKS}
    assert main["blood"][0].endswith("| starts from |")
    assert [line.split(" | ")[-1] for line in main["blood"][2:5]] == ["random |", "random |", "ImageNet |"]
    assert "starts from" not in main["mars"][0]
    assert "not to be had" not in page("blood") + page("mars")


@pytest.mark.usefixtures("logged")
def test_random_weights_in_place_of_pretrained_ones_are_told_everywhere() -> None:
    config = paths.config("blood", "blood-transfer")
    resolved = files.read_json(config)
    starts = [{**start, "initialisation": NOT_TO_BE_HAD} for start in resolved["starts"]]
    files.write_json(config, {**resolved, "starts": starts})
    report("blood")
    told = "Random weights in place of pretrained ones, which were not available: "
    assert f"{told}<code>blood-transfer</code>." in page("blood")
    assert f"{told}`blood-transfer`." in paths.ablation_markdown("blood").read_text(encoding="utf-8")
    assert ablation("blood")["blood-transfer"]["initialisation"] == "random (ImageNet not to be had)"


@pytest.mark.usefixtures("logged")
def test_a_variant_more_or_less_is_a_row_more_or_less(edit: Edit, reported_template: Path) -> None:
    shutil.copytree(reported_template, ".", dirs_exist_ok=True)
    before, kept = ablation("blood"), paths.ablation_csv("mars").read_bytes()
    added = {"task": "blood", "title": "one more", "change": {"width": 8}}
    edit("variants", {**finished_project.VARIANTS, "blood-wide": added})
    edit("rows.blood-wide", "blood")
    settings = params.load()
    initialisation.write(paths.pretrained("blood-wide"), RANDOM)
    finished_project.configure("blood")
    finished_project.train(tasks.make("blood", settings), "blood-wide")
    finished_project.evaluate(tasks.make("blood", settings), "blood-wide", settings)
    report()
    after = ablation("blood")
    assert list(after) == [*before, "blood-wide"]
    assert repr({name: after[name] for name in before}) == repr(before)
    assert "one more" in paths.ablation_markdown("blood").read_text(encoding="utf-8")
    # The removed variant's files stay on disk, but are ignored.
    edit("rows", {name: variant["task"] for name, variant in finished_project.VARIANTS.items()})
    report("blood")
    assert repr(ablation("blood")) == repr(before)
    assert "blood-wide" not in page("blood")
    assert paths.ablation_csv("mars").read_bytes() == kept


def test_mlflow_is_told_every_run_the_champion_and_then_the_report(logged: list[Any]) -> None:
    report("mars")
    assert [name for name, _ in logged] == ["mars"] * 3
    (_, finished), (_, entries), (_, pages) = logged
    assert [(each.identity.variant, each.identity.seed) for each in finished] == [
        (variant, seed) for variant in ("mars-baseline", "mars-unet") for seed in (0, 1)
    ]
    for each in finished:
        name, seed = each.identity.variant, each.identity.seed
        scores = metric_files.read(paths.scores("mars", name))["seeds"]
        training = metric_files.read(paths.training("mars", name))
        assert scores["0"]["mean_iou"] != scores["1"]["mean_iou"]
        assert each.summary["test_mean_iou"] == scores[str(seed)]["mean_iou"]
        assert each.summary["best_epoch"] == training[str(seed)]["best_epoch"]
        curves = files.read_csv(paths.curves("mars", name))
        pd.testing.assert_frame_equal(each.curves, curves[curves["seed"] == seed].drop(columns="seed"))
        assert each.published == finished_project.VARIANTS[name].get("published")
    champion, candidate = entries
    assert "- Mirror images keep 95.0 % of the decisions" in champion.description
    assert candidate.models == tuple(paths.model("mars", "mars-baseline", seed) for seed in (0, 1))
    assert (champion.aliases, champion.about["variant"]) == (("champion",), "mars-unet")
    assert champion.card.startswith("# Mars: a network | with a pipe")
    assert (candidate.aliases, candidate.about["variant"]) == (("candidate",), "mars-baseline")
    assert "It is no better." in candidate.description
    assert all(path.exists() for entry in entries for path in entry.models)
    assert all(path.exists() for path in pages)
    html = page("mars")
    assert "Champion is <code>mars-unet</code>; the latest candidate, <code>mars-baseline</code>, was refused." in html
    assert '<b class="wrong">✗</b> It is no better.' in html
    assert '<b class="right">✓</b> It is steady.' in html
    assert "<h4>Mars: a network | with a pipe</h4>" in html


@pytest.mark.usefixtures("finished")
def test_a_champion_that_the_record_does_not_name_is_refused() -> None:
    task = tasks.make("mars", params.load())
    about = files.read_json(paths.champion("mars") / "champion.json")
    files.write_json(paths.champion("mars") / "champion.json", {**about, "variant": "another"})
    with pytest.raises(InputError, match=r"data/mars/champion does not hold the champion .*dvc repro promote@mars"):
        champions.outcome(task)
    shutil.rmtree(paths.champion("mars"))
    with pytest.raises(InputError, match="does not hold the champion"):
        champions.outcome(task)
    paths.promotion("mars").unlink()
    with pytest.raises(InputError, match=r"promotion.json is missing: run `dvc repro promote@mars`"):
        champions.outcome(task)


@pytest.mark.usefixtures("logged")
def test_a_candidate_that_was_trained_anew_meanwhile_is_not_registered() -> None:
    runs = metric_files.read(paths.training("mars", "mars-baseline"))
    metric_files.write(paths.training("mars", "mars-baseline"), {}, {"0": {**runs["0"], "fingerprint": "f" * 64}})
    with pytest.raises(InputError, match=r"promotion.json belongs to other trainings: run `dvc repro promote@mars`"):
        champions.register(tasks.make("mars", params.load()))


@pytest.mark.usefixtures("logged")
def test_a_second_report_changes_no_byte(reported_template: Path) -> None:
    shutil.copytree(reported_template, ".", dirs_exist_ok=True)
    before = finished_project.outputs()
    report()
    assert finished_project.outputs() == before


@pytest.mark.usefixtures("reported")
def test_every_line_of_a_markdown_table_has_its_cells() -> None:
    text = paths.ablation_markdown("mars").read_text(encoding="utf-8")
    assert r"a network \| with a pipe" in text
    for block in text.split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) <= 1


@pytest.mark.usefixtures("reported")
@pytest.mark.parametrize("task", TASKS)
def test_the_page_is_whole_and_alone(task: str) -> None:
    html = page(task)
    for name, variant in finished_project.VARIANTS.items():
        assert (name in html) == (variant["task"] == task)
        assert (variant["title"] in html) or variant["task"] != task
    assert "Repeated image: 5 images, 2 different" in html
    assert ("5 planted, precision 100.0 %, recall 100.0 %" in html) == (task == "blood")
    links = re.findall(r"""(?:src|href)="([^"]*)"|url\(([^)]*)\)""", html)
    assert all(target.startswith(("data:image/", "#")) for target in map("".join, links))
    anchors = {target for target in map("".join, links) if target.startswith("#")}
    assert {f"#{anchor}" for anchor in re.findall(r'id="([^"]+)"', html)} >= anchors
    assert not re.search(r"<script|@import|<link|<iframe", html)
    assert all(re.search(r'alt="[^"]+"', image) for image in re.findall(r"<img[^>]*>", html))
    assert str(Path.cwd()) not in html
    assert len(html) < 2_000_000


@pytest.mark.usefixtures("logged")
def test_the_page_escapes_what_it_shows(edit: Edit) -> None:
    edit("variants.blood-cnn.title", "<b>bold</b> & more")
    report("blood")
    html = page("blood")
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; more" in html
    assert "<b>bold</b>" not in html


@pytest.mark.usefixtures("logged")
def test_the_tables_escape_what_markdown_would_take_for_its_own(edit: Edit) -> None:
    edit("variants.blood-cnn.title", "kernels <wide> &amp; *bold* [x](y) `z`, 3 < 4 & my_name")
    report("blood")
    text = paths.ablation_markdown("blood").read_text(encoding="utf-8")
    assert r"| kernels \<wide> \&amp; \*bold\* \[x\](y) \`z\`, 3 < 4 & my_name |" in text


@pytest.mark.usefixtures("logged")
def test_the_page_says_where_a_given_split_leaked(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"leaking_groups": 3, "moved": {"train_to_test": 4, "validation_to_test": 1}}
    given |= {"cut_from_train": {"validation": 12}, "copies_dropped": 2}
    read = files.read_json
    added = {paths.balance("blood"): {"given": given}}
    monkeypatch.setattr(files, "read_json", lambda path, form=object: read(path, form) | added.get(path, {}))
    report("blood")
    text = " ".join(page("blood").split())
    assert "3 groups were in several of its splits; their images were moved to the most protected one" in text
    assert "one of these (5 images). Cleaning" in text
    assert "dropped 2 copies of images in another split. It has no validation: 12 images were cut from train." in text


def widen(edit: Edit) -> None:
    edit("reference.mars.width", 99)
    finished_project.configure("mars")


def reseed(edit: Edit) -> None:
    edit("seeds", [0, 1, 2])
    finished_project.configure("blood")


def forget_all(edit: Edit) -> None:
    edit("rows", {"mars-unet": "mars"})


def score_another_training(_: Edit) -> None:
    path = paths.scores("mars", "mars-unet")
    scores = metric_files.read(path)
    metric_files.write(path, {}, scores | {"fingerprints": {**scores["fingerprints"], "1": "f" * 64}})


def rescore(_: Edit) -> None:
    path = paths.scores("mars", "mars-unet")
    scores = metric_files.read(path)
    scores["seeds"]["1"]["confusion"][1][1] += 1
    metric_files.write(path, {}, scores)


def remove(path: Path) -> Callable[[Edit], None]:
    return lambda _: path.unlink()


def lose_a_seed(_: Edit) -> None:
    path = paths.confusions("mars", "mars-unet")
    files.write_arrays(path, {"confusions": confusions.read(path)[:1]})


def lose_the_epochs(_: Edit) -> None:
    path = paths.curves("mars", "mars-unet")
    files.write_csv(path, files.read_csv(path)[:0])


def lose_a_column(_: Edit) -> None:
    path = paths.curves("mars", "mars-unet")
    files.write_csv(path, files.read_csv(path).drop(columns="val_loss"))


def empty(path: Path) -> Callable[[Edit], None]:
    return lambda _: files.write_json(path, {})


def misshape(_: Edit) -> None:
    path = paths.scores("mars", "mars-unet")
    metric_files.write(path, {}, metric_files.read(path) | {"mean": {}})


BAD_STATES: list[tuple[str, Callable[[Edit], None], str]] = [
    (
        "mars",
        remove(paths.scores("mars", "mars-unet")),
        r"mars-unet\.json is missing: run `dvc repro evaluate@mars-unet`",
    ),
    ("mars", remove(paths.training("mars", "mars-unet")), "run `dvc repro train@mars-unet`"),
    ("mars", remove(paths.config("mars", "mars-unet")), "run `dvc repro configure@mars`"),
    ("mars", remove(paths.confusions("mars", "mars-unet")), "run `dvc repro evaluate@mars-unet`"),
    ("mars", remove(paths.curves("mars", "mars-unet")), "run `dvc repro train@mars-unet`"),
    ("blood", remove(paths.prediction("blood", "blood-cnn", 0)), "run `dvc repro evaluate@blood-cnn`"),
    ("blood", remove(paths.balance("blood")), r"metrics/blood/balance\.json is missing"),
    ("blood", remove(paths.balance_manifest("blood")), "run `dvc repro balance@blood`"),
    ("mars", widen, "seed 0, 1 does not belong to the present params and data: run `dvc repro train@mars-baseline`"),
    ("blood", reseed, "seed 2 does not belong to the present params and data: run `dvc repro train@blood-baseline`"),
    ("blood", forget_all, "'rows' has no row for task blood"),
    ("mars", misshape, r"mars-unet\.json: in 'details', it lacks 'mean\.mean_iou': make it again with `dvc repro`"),
    ("mars", lose_a_seed, "its seeds or groups do not match the scores: run `dvc repro evaluate@mars-unet`"),
    ("mars", lose_the_epochs, "its seeds are not those of the row: run `dvc repro train@mars-unet`"),
    ("mars", lose_a_column, "has no column 'val_loss': run `dvc repro train@mars-unet`"),
    ("mars", empty(paths.tuning("mars")), "it lacks 'trials'"),
    ("mars", empty(paths.validation("mars")), "it lacks 'suite'"),
    (
        "mars",
        score_another_training,
        r"scores/mars-unet\.json: seed 1 does not belong to the present params and data: run `dvc repro evaluate@",
    ),
    ("mars", rescore, "seed 1 does not match the scores: run `dvc repro evaluate@mars-unet`"),
]


@pytest.mark.parametrize(("task", "spoil", "message"), BAD_STATES)
def test_refuses_stale_and_missing_results_and_writes_nothing(
    logged: list[Any], edit: Edit, task: str, spoil: Callable[[Edit], None], message: str
) -> None:
    spoil(edit)
    with pytest.raises(InputError, match=message):
        report(task)
    assert logged == []
    assert not paths.report(task).exists()
    assert not paths.ablation_csv(task).exists()


@pytest.mark.usefixtures("logged")
def test_validation_chooses_the_variant_to_show_within_the_rules(edit: Edit) -> None:
    settings = params.load()
    task = tasks.make("blood", settings)
    assert records.best(task, records.gather(task, settings)).name == "blood-cnn"
    runs = metric_files.read(paths.training("blood", "blood-baseline"))
    for run in runs.values():
        run["val_accuracy"] = 1.0
    metric_files.write(paths.training("blood", "blood-baseline"), {}, runs)
    assert records.best(task, records.gather(task, settings)).name == "blood-cnn"
    for run in runs.values():
        run["val_robust_accuracy"] = 0.99
    metric_files.write(paths.training("blood", "blood-baseline"), {}, runs)
    assert records.best(task, records.gather(task, settings)).name == "blood-baseline"
    edit("variants.blood-baseline.marked", "it is too simple")
    assert records.best(task, records.gather(task, params.load())).name == "blood-cnn"


@pytest.mark.usefixtures("logged")
def test_samples_spread_over_classes_and_the_hardest_come_first() -> None:
    task, rows = tasks.make("blood", params.load()), predictions.test_rows("blood")
    kept = predictions.stored("blood", "blood-cnn", 0, rows)
    shown = examples.samples(task, rows, kept, 24)
    assert len({example.pictures[0].text.split(": ")[1] for example in shown}) == 8
    assert len({example.pictures[0].text.split(": ")[1] for example in examples.samples(task, rows, kept, 8)}) == 8
    assert len(examples.samples(task, rows, kept, 1000)) == len(rows)
    difficulty = task.difficulty(task.targets(rows), kept)
    worst = examples.hardest(task, rows, kept, 2)
    assert f"test image {rows['id'][int(difficulty.argmax())]}:" in worst[0].pictures[0].text
    assert worst[0].right is False


@pytest.mark.usefixtures("logged")
def test_sheets_fold_repeated_contents() -> None:
    task = tasks.make("blood", params.load())
    sheets = examples.sheets(task, pd.read_parquet(paths.clean_manifest("blood")), 1)
    assert [(sheet.reason, sheet.images, sheet.contents) for sheet in sheets] == [
        ("repeated_image", 5, 2),
        ("near_duplicate", 1, 1),
    ]
    assert [picture.label for picture in sheets[0].pictures] == ["3 times"]
    assert [picture.label for picture in sheets[1].pictures] == ["id 10, like 9"]


@pytest.mark.usefixtures("logged")
def test_the_first_row_has_no_difference_even_alone() -> None:
    settings = params.load()
    task = tasks.make("blood", settings)
    table = ablations.ablation(task, records.gather(task, settings)[:1], settings.evaluate)
    assert table["difference"].isna().all()
    assert tables.results(task, table)["to the row above"].tolist() == ["–"]  # noqa: RUF001


@pytest.mark.usefixtures("reported")
def test_the_tables_show_each_figure_in_its_place() -> None:
    task, row = tasks.make("blood", params.load()), ablation("blood")["blood-cnn"]
    lines = paths.ablation_markdown("blood").read_text(encoding="utf-8").splitlines()
    main, others, classes, kinds, severities, origin = (
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if "| blood-cnn |" in line
    )
    both = ("accuracy", "shift_accuracy")
    shown = [formats.estimate(*(row[f"{name}{end}"] for end in ("", "_low", "_high"))) for name in both]
    together = [formats.percent(row[f"{name}_together"]) for name in both]
    assert main[3:7] == [shown[0], together[0], shown[1], together[1]]
    assert main[7] == formats.difference(*(row[name] for name in ("difference", "difference_low", "difference_high")))
    assert classes[1:] == [formats.percent(row[f"recall_{name.replace(' ', '_')}"]) for name in task.classes]
    assert main[8:10] == [formats.p_value(row["p_value"]), "35.4"]
    assert others[1:-1] == [formats.percent(row[name]) for name in task.other_scores]
    assert kinds[1:] == [formats.percent(row[f"corruption_{name}"]) for name in task.corruptions]
    assert severities[1:] == [formats.percent(row[f"severity_{step}"]) for step in range(1, 6)]
    assert origin[2:4] == ["6 6", "4 4"]
    assert any("in brackets 95% intervals over groups" in line for line in lines)


@pytest.mark.usefixtures("logged")
def test_a_row_may_be_compared_with_another_than_the_one_above(edit: Edit) -> None:
    edit("variants.blood-transfer.compared_with", "blood-baseline")
    report("blood")
    rows = ablation("blood")
    found, other = rows["blood-transfer"], rows["blood-baseline"]
    assert found["compared_with"] == "blood-baseline"
    assert found["difference"] == pytest.approx(found["accuracy"] - other["accuracy"], abs=1e-6)
    assert 0 < found["difference_low"] < found["difference"] < found["difference_high"]
    (line,) = (
        line for line in paths.ablation_markdown("blood").read_text("utf-8").splitlines() if "from elsewhere" in line
    )
    assert " to blood-baseline |" in line


@pytest.mark.usefixtures("reported")
@pytest.mark.parametrize("name", TASKS)
def test_each_picture_bears_its_own_prediction(name: str) -> None:
    task, rows = tasks.make(name, params.load()), predictions.test_rows(name)
    kept = predictions.stored(name, {"blood": "blood-cnn", "mars": "mars-unet"}[name], 0, rows)
    truth, predicted = task.targets(rows), task.predicted(kept)
    for example in [*examples.samples(task, rows, kept, 12), *examples.hardest(task, rows, kept, 5)]:
        (place,) = np.flatnonzero(rows["id"] == int(re.findall(r"test image (\d+)", example.pictures[0].text)[0]))
        if task.dense:
            labelled = truth[place] != task.background
            share = (truth[place] == predicted[place])[labelled].mean()
            assert example.caption == f"id {rows['id'][place]}: {share:.0%} of the labelled pixels right"
        else:
            sure = kept["probabilities"][place].max()
            assert f"{sure:.0%}" in example.caption
            assert example.caption.startswith(task.classes[truth[place]])
            assert example.right == (truth[place] == predicted[place])
            assert example.right or f"predicted as {task.classes[predicted[place]]} (" in example.caption


@pytest.mark.usefixtures("logged")
def test_networks_of_different_size_are_given_by_their_mean() -> None:
    runs = metric_files.read(paths.training("mars", "mars-unet"))
    runs["1"]["parameters"] = 123458
    metric_files.write(paths.training("mars", "mars-unet"), {}, runs)
    report("mars")
    assert ablation("mars")["mars-unet"]["parameters"] == 123457


@pytest.mark.usefixtures("reported")
@pytest.mark.parametrize("name", TASKS)
def test_a_row_of_the_confusion_matrix_is_a_true_class_of_all_seeds(name: str) -> None:
    settings = params.load()
    task = tasks.make(name, settings)
    scored = list(task.scored_classes)
    for record in records.gather(task, settings):
        counts = np.array([run["confusion"] for run in record.scores["seeds"].values()]).sum(axis=0)
        matrix = counts[np.ix_(scored, scored)]
        shown = pages._confusion(task, record)["rows"]
        assert [row[0] for row in shown] == [task.classes[k] for k in scored]
        assert [row[1] for row in shown] == matrix.sum(axis=1).tolist()
        assert [[count for _, count in row[2]] for row in shown] == matrix.tolist()
        assert [sum(share for share, _ in row[2]) for row in shown] == pytest.approx(np.ones(len(scored)))


def percents(text: str) -> list[str]:
    return re.findall(r"[\d.]+(?= %)", text)


@pytest.mark.usefixtures("reported")
def test_the_page_shows_each_figure_in_its_place() -> None:
    html, row = page("blood"), ablation("blood")["blood-cnn"]
    low, high = (100 * row[f"accuracy_{end}"] for end in ("low", "high"))
    assert f'aria-label="{100 * row["accuracy"]:.1f} %, interval {low:.1f} to {high:.1f}, published 35.4"' in html
    (headlines,) = re.findall(r'<p class="headline">(.*?)</p>', html)
    assert percents(headlines) == [formats.percent(row[name]) for name in ("accuracy", "shift_accuracy")]
    assert 'alt="validation robust accuracy by epoch; highest values: blood-baseline' in html
    shift = [row["accuracy"], *(row[f"corruption_{name}"] for name in tasks.make("blood", params.load()).corruptions)]
    assert f"blood-cnn {formats.percent(min(shift))} to {formats.percent(max(shift))} %" in html
    highest = files.read_csv(paths.curves("blood", "blood-cnn"))["val_robust_accuracy"].max()
    assert f"blood-cnn {formats.percent(highest)} %" in html
    assert "1 of 2 expectations hold for 120 images" in html
    assert "violated by 5 of 120, such as" in " ".join(html.split())
    assert "6 of 120 images were removed (5.0 %), 114 kept" in html
    limits = params.load().report
    assert html.count('<div class="pictures">') == min(limits.examples, 38) + min(limits.hardest, 38)


@pytest.mark.usefixtures("reported")
@pytest.mark.parametrize("name", TASKS)
def test_the_page_has_the_split_and_the_weight_of_each_class(name: str) -> None:
    balance = files.read_json(paths.balance(name))
    _, _, table = page(name).partition(f'id="{name}-splits"')
    rows = re.findall(r'<tr><th scope="row">([^<]+)</th>\s*(.*?)</tr>', table, flags=re.DOTALL)
    for (label, cells), weight in zip(rows, balance["class_weights"], strict=False):
        counts = [balance["splits"][split]["classes"][label] for split in ("train", "validation", "test")]
        assert re.findall(r"<small>([^<]*)</small>", cells) == [formats.count(count) for count in counts]
        assert cells.endswith(f"<td>{weight:.2f}</td>")
    assert [label for label, _ in rows][-2:] == ["images", "groups"]


@pytest.mark.usefixtures("logged")
def test_the_page_tells_earlier_decisions_and_what_each_class_won_or_lost() -> None:
    path = paths.promotion("blood")
    decided = files.read_json(path)
    decided["checks"]["comparison"] = {"classes": {"basophil": {"champion": 0.25, "candidate": 0.75}}}
    earlier = {"candidate": "old", "fingerprints": [], "champion": "old", "reasons": ["It was so."], "against": []}
    decided["history"] = [
        {**earlier, "promoted": True},
        {**earlier, "promoted": False, "against": ["It was worse."]},
        {**earlier, "promoted": False},
    ]
    files.write_json(path, decided)
    report("blood")
    html = page("blood")
    assert '<th scope="row">basophil</th><td>25.0</td><td>75.0</td>' in html
    told = re.findall(r"<li><code>old</code> ([^<]*)</li>", html)
    assert told == ["stayed champion: It was so.", "was refused: It was worse.", "became champion: It was so."]


@pytest.mark.usefixtures("logged")
def test_the_losses_are_drawn_and_the_kept_epoch_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = params.load()
    record = records.record(tasks.make("mars", settings), "mars-unet", settings)
    axes = MagicMock()
    monkeypatch.setattr(charts, "whole_numbers", lambda *_: None)
    monkeypatch.setattr(charts, "chart", lambda width, height, draw: draw(axes))
    figures.loss_curves(record)
    drawn = [(call.args[0].tolist(), call.args[1].tolist()) for call in axes.plot.call_args_list]
    first = record.curves[record.curves["seed"] == 0]
    assert drawn[0] == (first["epoch"].tolist(), first["loss"].tolist())
    of_validation = [(epochs, losses) for epochs, losses in drawn if losses[0] in first["val_loss"].tolist()]
    assert of_validation == [
        (first["epoch"].tolist(), first["val_loss"].tolist()),
        ([4], [first["val_loss"].iloc[3]]),
    ]


@pytest.mark.usefixtures("reported")
def test_pictures_of_masks_say_what_they_show_and_dim_what_is_unlabelled() -> None:
    task, rows = tasks.make("mars", params.load()), predictions.test_rows("mars")
    kept = predictions.stored("mars", "mars-unet", 0, rows)
    (example,) = examples.samples(task, rows, kept, 1)
    (place,) = np.flatnonzero(rows["id"] == int(re.findall(r"\d+", example.pictures[0].text)[0]))
    truth, predicted = task.targets(rows)[place], task.predicted(kept)[place]
    for picture, mask, words in zip(example.pictures[1:], (truth, predicted), ("true", "predicted"), strict=True):
        shares = [f"{(mask == k).mean():.0%} {name}" for k, name in enumerate(task.classes) if (mask == k).any()]
        assert picture.text == f"its {words} classes: {', '.join(shares)}"
    assert (truth == task.background).any()
    assert example.pictures[1].uri == painted(truth)
    assert example.pictures[2].uri == painted(predicted, truth == task.background)


@pytest.mark.usefixtures("logged")
def test_a_refused_candidate_is_registered_alone_where_nobody_is_champion(logged: list[Any]) -> None:
    decided = files.read_json(paths.promotion("mars"))
    files.write_json(paths.promotion("mars"), {**decided, "champion": {"variant": None}})
    shutil.rmtree(paths.champion("mars"))
    champions.register(tasks.make("mars", params.load()))
    ((_, entries),) = logged
    assert [(entry.aliases, entry.about["variant"]) for entry in entries] == [(("candidate",), "mars-baseline")]


@pytest.mark.usefixtures("finished")
def test_mlflow_gets_the_search_and_the_report_only_when_it_is_whole(
    logged: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    studies: list[Any] = []
    monkeypatch.setattr(tracking, "log_study", lambda task, outcome: studies.append((task, outcome)))
    settings = params.load()
    task = tasks.make("mars", settings)
    runs.reconcile(task, records.gather(task, settings))
    assert studies == [("mars", finished_project.TUNING)]
    logged.clear()
    files.write_text(paths.report("mars"), "the page alone")
    runs.log_report(task)
    assert logged == []
