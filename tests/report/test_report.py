"""Tables, README block and page of a finished project; MLflow is replaced by a list."""

import base64
import io
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stages import report as stage
from terracyte import params, tasks, tracking
from terracyte.configure import initialisation
from terracyte.core import files, metric_files, paths
from terracyte.core.errors import InputError
from terracyte.evaluate import predictions
from terracyte.rendering import formats
from terracyte.report import ablation as ablations
from terracyte.report import champions, pictures, readme, records, tables
from terracyte.serve import registry
from tests import finished_project
from tests.conftest import Edit


@pytest.fixture
def reported(reported_template: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A reported project, being the working directory, to be read only."""
    monkeypatch.chdir(reported_template)
    return reported_template


@pytest.fixture
def logged(finished: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """In a finished project: what the report tells MLflow."""
    told: list[Any] = []
    monkeypatch.setattr(sys, "argv", ["report"])
    monkeypatch.setattr(tracking, "reconcile", lambda task, runs: told.append((task, runs)))
    monkeypatch.setattr(tracking, "log_study", lambda *_: None)
    monkeypatch.setattr(tracking, "log_report", lambda task, pages: told.append((task, pages)))
    monkeypatch.setattr(registry, "register", lambda task, entries: told.append((task, entries)))
    return told


def ablation(task: str) -> dict[str, Any]:
    rows = pd.read_csv(paths.ablation_csv(task), index_col="variant").to_dict("index")
    return {str(variant): row for variant, row in rows.items()}


@pytest.mark.usefixtures("reported")
def test_rows_are_the_scores_in_the_order_of_params() -> None:
    rows = ablation("mars")
    assert list(rows) == ["mars-baseline", "mars-unet"]
    baseline, row, scores = *rows.values(), metric_files.read(paths.scores("mars", "mars-unet"))
    assert row["mean_iou"] == scores["mean"]["mean_iou"]
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


@pytest.mark.usefixtures("reported")
def test_scores_under_shift_are_columns_where_the_task_has_them() -> None:
    row, mean = ablation("blood")["blood-cnn"], metric_files.read(paths.scores("blood", "blood-cnn"))["mean"]
    assert row["shift_accuracy"] == mean["shift_accuracy"]
    assert row["shift_accuracy_low"] < row["shift_accuracy"] < row["shift_accuracy_high"]
    assert row["corruption_stain"] == mean["shift"]["stain"]
    assert [row[f"severity_{severity}"] for severity in range(1, 6)] == mean["shift_severity"]
    assert "shift accuracy, %" in paths.ablation_markdown("blood").read_text(encoding="utf-8")
    assert not [name for name in ablation("mars")["mars-unet"] if name.startswith(("shift", "corruption", "severity"))]
    assert "accuracy by corruption" in paths.REPORT_PAGE.read_text(encoding="utf-8")


@pytest.mark.usefixtures("reported")
def test_tables_say_what_a_variant_starts_from_if_any_owes_something_to_others() -> None:
    main = {task: paths.ablation_markdown(task).read_text(encoding="utf-8").splitlines() for task in params.TASKS}
    assert main["blood"][0].endswith("| starts from |")
    assert [line.split(" | ")[-1] for line in main["blood"][2:5]] == ["random |", "random |", "ImageNet |"]
    assert "starts from" not in main["mars"][0]
    assert "not to be had" not in paths.REPORT_PAGE.read_text(encoding="utf-8")


@pytest.mark.usefixtures("logged")
def test_random_weights_in_place_of_pretrained_ones_are_told_everywhere() -> None:
    runs = metric_files.read(paths.training("blood", "blood-transfer"))
    for run in runs.values():
        run["initialisation"] = initialisation.NOT_TO_BE_HAD
    metric_files.write(paths.training("blood", "blood-transfer"), {}, runs)
    stage.main()
    told = "Random weights in place of pretrained ones, which were not to be had: "
    assert f"{told}<code>blood-transfer</code>." in paths.REPORT_PAGE.read_text(encoding="utf-8")
    assert f"{told}`blood-transfer`." in paths.README.read_text(encoding="utf-8")
    assert ablation("blood")["blood-transfer"]["initialisation"] == "random (ImageNet not to be had)"


@pytest.mark.usefixtures("logged")
def test_a_variant_more_or_less_is_a_row_more_or_less(edit: Edit, reported_template: Path) -> None:
    shutil.copytree(reported_template, ".", dirs_exist_ok=True)
    before, kept = ablation("blood"), paths.ablation_csv("mars").read_bytes()
    added = {"task": "blood", "title": "one more", "change": {"width": 8}}
    edit("variants", {**finished_project.VARIANTS, "blood-wide": added})
    settings = params.load()
    finished_project.train(tasks.make("blood", settings), "blood-wide", settings)
    finished_project.evaluate(tasks.make("blood", settings), "blood-wide", settings)
    stage.main()
    after = ablation("blood")
    assert list(after) == [*before, "blood-wide"]
    assert repr({name: after[name] for name in before}) == repr(before)
    assert "one more" in paths.README.read_text(encoding="utf-8")
    # The removed variant's files stay on the disk, and are not looked at.
    edit("variants", finished_project.VARIANTS)
    stage.main()
    assert repr(ablation("blood")) == repr(before)
    assert "blood-wide" not in paths.REPORT_PAGE.read_text(encoding="utf-8")
    assert paths.ablation_csv("mars").read_bytes() == kept


def test_mlflow_is_told_every_run_the_champion_and_then_the_report(logged: list[Any]) -> None:
    stage.main()
    assert [name for name, _ in logged] == ["blood", "blood", "mars", "mars", "blood", "mars"]
    (_, finished), (_, entries) = logged[2:4]
    assert [(each.identity.variant, each.identity.seed) for each in finished] == [
        (variant, seed) for variant in ("mars-baseline", "mars-unet") for seed in (0, 1)
    ]
    champion, candidate = entries
    assert (champion.aliases, champion.about["variant"]) == (("champion",), "mars-unet")
    assert champion.card.startswith("# Mars: a network | with a pipe")
    assert (candidate.aliases, candidate.about["variant"]) == (("candidate",), "mars-baseline")
    assert "It is no better." in candidate.description
    assert all(path.exists() for entry in entries for path in entry.models)
    assert all(path.exists() for _, pages in logged[4:] for path in pages)
    page = paths.REPORT_PAGE.read_text(encoding="utf-8")
    assert "Champion is <code>mars-unet</code>; the latest candidate, <code>mars-baseline</code>, was refused." in page
    assert '<b class="wrong">✗</b> It is no better.' in page
    assert '<b class="right">✓</b> It is steady.' in page
    assert "<h4>Mars: a network | with a pipe</h4>" in page


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
    with pytest.raises(InputError, match=r"promotion.json is of other trainings: run `dvc repro promote@mars`"):
        champions.register(tasks.make("mars", params.load()))


@pytest.mark.usefixtures("logged")
def test_a_second_report_changes_no_byte(reported_template: Path) -> None:
    shutil.copytree(reported_template, ".", dirs_exist_ok=True)
    before = finished_project.outputs()
    stage.main()
    assert finished_project.outputs() == before


@pytest.mark.usefixtures("logged")
def test_the_readme_keeps_what_is_around_its_block() -> None:
    stage.main()
    text = paths.README.read_text(encoding="utf-8")
    assert text.startswith("# Title\n\n<!-- results:begin -->\n### Blood")
    assert text.endswith("\n<!-- results:end -->\n\nThe end.\n")
    assert all(paths.ablation_markdown(task).read_text(encoding="utf-8") in text for task in params.TASKS)
    assert r"a network \| with a pipe" in text
    for block in text.split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) <= 1


@pytest.mark.usefixtures("reported")
def test_the_page_is_whole_and_alone() -> None:
    html = paths.REPORT_PAGE.read_text(encoding="utf-8")
    for name, variant in finished_project.VARIANTS.items():
        assert name in html
        assert variant["title"] in html
    assert "Repeated image: 5 images, 2 different" in html
    assert "5 planted, precision 100.0 %, recall 100.0 %" in html
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
    stage.main()
    html = paths.REPORT_PAGE.read_text(encoding="utf-8")
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; more" in html
    assert "<b>bold</b>" not in html


def widen(edit: Edit) -> None:
    edit("reference.mars.width", 99)


def reseed(edit: Edit) -> None:
    edit("seeds", [0, 1, 2])


def forget_all(edit: Edit) -> None:
    edit("variants", {"mars-unet": finished_project.VARIANTS["mars-unet"]})


def rescore(_: Edit) -> None:
    path = paths.scores("mars", "mars-unet")
    scores = metric_files.read(path)
    scores["seeds"]["1"]["confusion"][1][1] += 1
    metric_files.write(path, {}, scores)


def remove(path: Path) -> Callable[[Edit], None]:
    return lambda _: path.unlink()


BAD_STATES: list[tuple[Callable[[Edit], None], str]] = [
    (remove(paths.scores("mars", "mars-unet")), r"mars-unet\.json is missing: run `dvc repro evaluate@mars-unet`"),
    (remove(paths.training("mars", "mars-unet")), "run `dvc repro train@mars-unet`"),
    (remove(paths.weights("mars", "mars-unet") / "origin.json"), "run `dvc repro fetch@mars-unet`"),
    (remove(paths.curves("mars", "mars-unet")), "run `dvc repro train@mars-unet`"),
    (remove(paths.prediction("blood", "blood-cnn", 1)), "run `dvc repro evaluate@blood-cnn`"),
    (remove(paths.balance("blood")), "run `dvc repro balance@blood`"),
    (remove(paths.balance_manifest("blood")), "run `dvc repro balance@blood`"),
    (widen, "seed 0, 1 does not belong to the present params and data: run `dvc repro train@mars-baseline`"),
    (reseed, "seed 2 does not belong to the present params and data: run `dvc repro train@blood-baseline`"),
    (forget_all, "'variants' has none of task blood"),
    (rescore, "seed 1 was scored on other predictions than those stored: run `dvc repro evaluate@mars-unet`"),
    (remove(paths.README), "README.md: the lines .* must stand in it once, in this order"),
]


@pytest.mark.parametrize(("spoil", "message"), BAD_STATES)
def test_refuses_stale_and_missing_results_and_writes_nothing(
    logged: list[Any], edit: Edit, spoil: Callable[[Edit], None], message: str
) -> None:
    spoil(edit)
    with pytest.raises(InputError, match=message):
        stage.main()
    assert not logged
    assert not paths.REPORT_PAGE.exists()
    assert not paths.ablation_csv("blood").exists()


BEGIN, END = readme.markers("results")


@pytest.mark.parametrize("text", ["", f"{END}\n{BEGIN}", f"{BEGIN}{BEGIN}{END}"])
def test_refuses_a_readme_without_its_two_markers(tmp_path: Path, text: str) -> None:
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="must stand in it once"):
        readme.with_block(tmp_path / "README.md", "results", {"mars": "table"})


@pytest.mark.usefixtures("logged")
def test_validation_chooses_the_variant_to_show() -> None:
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


@pytest.mark.usefixtures("logged")
def test_samples_spread_over_classes_and_the_hardest_come_first() -> None:
    task, rows = tasks.make("blood", params.load()), predictions.test_rows("blood")
    kept = predictions.stored("blood", "blood-cnn", 0, rows)
    shown = pictures.samples(task, rows, kept, 24)
    assert len({example.pictures[0].text.split(": ")[1] for example in shown}) == 8
    assert len(pictures.samples(task, rows, kept, 1000)) == len(rows)
    difficulty = task.difficulty(task.targets(rows), kept)
    worst = pictures.hardest(task, rows, kept, 2)
    assert f"test image {rows['id'][int(difficulty.argmax())]}:" in worst[0].pictures[0].text
    assert worst[0].right is False


@pytest.mark.usefixtures("logged")
def test_sheets_fold_repeated_contents() -> None:
    task = tasks.make("blood", params.load())
    sheets = pictures.sheets(task, pd.read_parquet(paths.clean_manifest("blood")), 1)
    assert [(sheet.reason, sheet.images, sheet.contents) for sheet in sheets] == [
        ("repeated_image", 5, 2),
        ("near_duplicate", 1, 1),
    ]
    assert [picture.label for picture in sheets[0].pictures] == ["3 times"]
    assert [picture.label for picture in sheets[1].pictures] == ["id 10, like 9"]


def pixels(uri: str) -> Any:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGB"))


def test_masks_are_painted_in_the_palette_and_dimmed() -> None:
    mask = np.arange(4, dtype=np.uint8).reshape(2, 2) + 1
    palette = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in pictures.PALETTE]
    np.testing.assert_array_equal(pixels(pictures.painted(mask)).reshape(4, 3), palette[1:5])
    dimmed = pixels(pictures.painted(mask, np.array([[True, False], [False, False]])))
    assert abs(dimmed[0, 0].astype(int) - palette[0]).sum() < abs(dimmed[0, 0].astype(int) - palette[1]).sum()
    np.testing.assert_array_equal(dimmed[0, 1], palette[2])


@pytest.mark.parametrize("channels", [1, 3])
def test_photographs_keep_their_size_and_grey_values(channels: int) -> None:
    shown = pixels(pictures.photograph(np.full((8, 16, channels), 120, np.uint8)))
    assert shown.shape == (8, 16, 3)
    np.testing.assert_allclose(shown, 120, atol=2)


def test_numbers_for_reading() -> None:
    assert formats.percent(0.7322) == "73.2"
    assert formats.percent(float("nan")) == "–"  # noqa: RUF001
    assert formats.interval(0.7, 0.75) == "70.0 to 75.0"
    assert formats.estimate(0.7322, 0.7, 0.75) == "73.2 (70.0 to 75.0)"
    assert [formats.p_value(p) for p in (0.0123, 0.0004, float("nan"))] == ["0.012", "< 0.001", "–"]  # noqa: RUF001
    assert [formats.minutes(seconds) for seconds in (754.2, float("nan"))] == ["12.6", "–"]  # noqa: RUF001
    assert [formats.rate(speed) for speed in (118.42, 8.43, float("nan"))] == ["118", "8.4", "–"]  # noqa: RUF001
    assert formats.difference(-0.1, -0.2, 0.0004) == "−10.0 (−20.0 to +0.0)"  # noqa: RUF001
    assert formats.difference(-0.0001, -0.0001, 0.0) == "+0.0 (+0.0 to +0.0)"
    assert formats.difference(float("nan"), float("nan"), float("nan")) == "–"  # noqa: RUF001
    assert formats.count(1234567) == "1\u202f234\u202f567"
    assert formats.sentence("plain U-Net") == "Plain U-Net"
    assert formats.words("val_mean_iou") == "validation mean IoU"


@pytest.mark.usefixtures("logged")
def test_the_first_row_has_no_difference_even_alone() -> None:
    settings = params.load()
    task = tasks.make("blood", settings)
    table = ablations.ablation(task, records.gather(task, settings)[:1], settings.evaluate)
    assert table["difference"].isna().all()
    assert tables.results(task, table)["to the row above"].tolist() == ["–"]  # noqa: RUF001
