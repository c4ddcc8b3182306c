"""Drift is flagged for damaged images and not for sound ones; few images show only large differences."""

import dataclasses
import errno
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import ks_2samp

from terracyte import cli, params, tasks
from terracyte.core import files, paths
from terracyte.core.hashing import file_hash
from terracyte.drift import measurement, report
from terracyte.drift.comparison import Finding, compare, holm
from terracyte.drift.examination import examine
from terracyte.images.shift.corruptions import CORRUPTIONS, corrupt
from terracyte.images.statistics import describe
from terracyte.params import Drift
from terracyte.predict import predictor
from terracyte.promote import novelty
from terracyte.tasks.task import Task
from tests.conftest import ROOT, Edit

SETTINGS = Drift(significance=0.01, distance=0.15, examples=4)
IMAGES = 160


def test_holm_is_worked_out_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def normal(mean: float, count: int, seed: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(mean, 1, count)


def test_distance_and_p_are_those_of_the_test() -> None:
    before, after = normal(0, 300, 0), normal(1, 200, 1)
    (found,) = compare({"a": before}, {"a": after}, SETTINGS)
    expected = ks_2samp(before, after)
    assert found.distance == pytest.approx(expected.statistic, abs=1e-6)
    assert found.p_value == pytest.approx(expected.pvalue, abs=1e-6)
    assert found.drifted
    assert found.after > found.before


def test_false_alarms_are_as_rare_as_declared() -> None:
    settings = Drift(significance=0.1, distance=0.0, examples=1)
    alarms = [
        any(
            finding.drifted
            for finding in compare(
                {name: normal(0, 60, 10 * seed + place) for place, name in enumerate("abc")},
                {name: normal(0, 60, 10 * seed + place + 5) for place, name in enumerate("abc")},
                settings,
            )
        )
        for seed in range(200)
    ]
    assert np.mean(alarms) <= 0.15


def test_a_difference_that_matters_to_nobody_does_not_count() -> None:
    (found,) = compare({"a": normal(0, 100_000, 0)}, {"a": normal(0.1, 100_000, 1)}, SETTINGS)
    assert found.p_value < 1e-6
    assert not found.drifted


def test_few_images_show_large_differences_only() -> None:
    few, many = (compare({"a": normal(0, 500, 0)}, {"a": normal(3, count, 1)}, SETTINGS)[0] for count in (3, 300))
    assert many.drifted
    assert many.noticed < 0.2
    assert few.noticed > 0.9
    assert not compare({"a": normal(0, 500, 0)}, {"a": normal(0, 1, 1)}, SETTINGS)[0].drifted


def test_what_never_varies_is_not_compared() -> None:
    assert compare({"a": np.zeros(5)}, {"a": np.zeros(3)}, SETTINGS) == []


@pytest.fixture
def task(project: Path, edit: Edit) -> Task:
    """160 drawn cells: 100 for training, 30 for validation, 30 for test."""
    edit("tasks.blood.height", 32)
    edit("tasks.blood.width", 32)
    made = tasks.make("blood", params.load())
    random = np.random.default_rng(0)
    y, x = np.mgrid[:32, :32] - 16
    inside = (np.hypot(y, x) < random.uniform(5, 12, (IMAGES, 1, 1)))[..., None]
    colours = random.uniform([170, 140, 170], [230, 200, 230], (IMAGES, 3))[:, None, None]
    noise = random.normal(0, random.uniform(2, 8, (IMAGES, 1, 1, 1)), (IMAGES, 32, 32, 3))
    images = (colours - 60 * inside + noise).clip(0, 255).astype(np.uint8)
    paths.raw("blood").mkdir(parents=True)
    np.save(paths.images("blood"), images)
    split = np.repeat(["train", "validation", "test"], [100, 30, 30])
    table = describe(images).assign(id=np.arange(IMAGES), label=np.arange(IMAGES) % 8, split=split, fold=-1)
    files.write_table(paths.balance_manifest("blood"), table)
    return made


def validation(task: Task, damage: str | None = None, count: int = 30) -> tuple[list[str], NDArray[np.uint8]]:
    rows = pd.read_parquet(paths.balance_manifest(task.name)).query("split == 'validation'")
    images = np.load(paths.images(task.name))[rows["id"].to_numpy()[:count]]
    if damage:
        images = np.stack([corrupt(image, damage, 5, np.random.default_rng(n)) for n, image in enumerate(images)])
    return [f"{n}.png" for n in range(len(images))], images


def test_held_back_images_pass_and_damaged_ones_are_flagged(task: Task) -> None:
    assert not examine(task, [validation(task)], None, SETTINGS).drifted
    for damage in CORRUPTIONS.keys() - {"jpeg", "pixelation", "stain"}:
        outcome = examine(task, [validation(task, damage)], None, SETTINGS)
        assert outcome.drifted, damage
        assert outcome.verdict.startswith("Drift in 30 images")


class Bright:
    """A network that classifies images by their brightness."""

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        level = images.mean(axis=(1, 2, 3))
        return np.stack([level / 10, (255 - level) / 10, *[np.zeros(len(images))] * 6], axis=1).astype(np.float32)


@pytest.fixture
def champion(task: Task) -> predictor.Predictor:
    images = np.load(paths.images("blood"))
    look = novelty.fit(images, np.arange(100), np.arange(100, 130), 0.02)
    return predictor.Predictor(
        task=task, record={"variant": "bright"}, model=Path(), network=Bright(), temperature=1.0, novelty=look
    )


def test_the_champion_is_asked_about_images_that_it_does_not_know(task: Task, champion: predictor.Predictor) -> None:
    outcome = examine(task, [validation(task, count=15)], champion, SETTINGS)
    assert not outcome.drifted
    # the 15 examined images are in the validation split; the reference leaves them out
    assert outcome.validation == 15
    names = {finding.name for finding in outcome.findings}
    assert {"brightness", "confidence", "unlikeness", "probability of basophil"} <= names
    damaged = examine(task, [validation(task, "brightness_down")], champion, SETTINGS)
    assert {"brightness", "unlikeness", "probability of basophil"} <= {each.name for each in damaged.drifted}
    assert len(damaged.strangest) == SETTINGS.examples


def test_networks_with_folds_answer_for_what_they_held_out(
    task: Task, champion: predictor.Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Inverted(Bright):
        def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
            return super().__call__(images)[:, [1, 0, *range(2, 8)]]

    table = files.read_table(paths.balance_manifest("blood"))
    files.write_table(paths.balance_manifest("blood"), table.assign(fold=table["id"] % 2))
    plain = measurement.validation_outputs(task, champion, frozenset())
    members = {0: champion, 1: dataclasses.replace(champion, network=Inverted())}
    monkeypatch.setattr(predictor.Predictor, "members", lambda self: members)
    mixed = measurement.validation_outputs(task, champion, frozenset())
    names = [f"probability of {name}" for name in task.classes[:2]]
    odd = (table["id"][table["split"] == "validation"] % 2 == 1).to_numpy()
    for name, other in zip(names, names[::-1], strict=True):
        assert sorted(mixed[name]) == pytest.approx(sorted([*plain[name][~odd], *plain[other][odd]]))


def test_the_same_images_give_the_same_page_in_any_batches(task: Task, champion: predictor.Predictor) -> None:
    names, images = validation(task, "noise")
    pages = [
        report.page(examine(task, batches, champion, SETTINGS))
        for batches in ([(names, images)], [(names[:7], images[:7]), (names[7:], images[7:])])
    ]
    assert pages[0] == pages[1]
    assert "http" not in pages[0].replace("http://www.w3.org", "")


def run(*arguments: str) -> int:
    try:
        cli.main(["drift", "blood", *arguments])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_the_command_says_it_by_its_exit_code(task: Task, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, damage in (("clean", None), ("dark", "brightness_down")):
        np.save(tmp_path / f"{name}.npy", validation(task, damage)[1])
    assert run("clean.npy") == 0
    assert run("dark.npy", "--output", "elsewhere") == 3
    found: dict[str, Any] = json.loads(Path("elsewhere/summary.json").read_text())
    assert found["drift"]
    assert found["verdict"] in capsys.readouterr().out
    assert "<title>Terracyte: drift, blood</title>" in (paths.DATA / "drift/blood/index.html").read_text()


def test_an_experiment_is_compared_with_its_own_images(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    np.save(outside / "dark.npy", validation(task, "brightness_down")[1])
    (tmp_path / "dvc.yaml").touch()
    paths.champion("blood").mkdir()  # `promote` leaves an empty folder if no row becomes champion
    monkeypatch.chdir(outside)
    assert run("dark.npy", "--experiment", "..") == 3
    assert (tmp_path / "data/drift/blood/summary.json").exists()
    assert run("dark.npy", "--experiment", "..", "--output", "here") == 3
    assert (outside / "here/index.html").exists()


def test_bad_input_is_one_line_with_exit_code_2(task: Task, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    np.save(tmp_path / "images.npy", validation(task)[1])
    assert run("empty") == 2
    assert run("missing.npz") == 2
    assert run("images.npy", "--model", "nowhere") == 2
    files.write_text(paths.champion("blood") / "card.md", "without its record")
    assert run("images.npy") == 2
    shutil.rmtree(paths.champion("blood"))
    (tmp_path / "site").mkdir()
    (tmp_path / "site/index.html").write_text("mine")
    assert run("images.npy", "--output", "site") == 2
    assert (tmp_path / "site/index.html").read_text() == "mine"
    shutil.move(paths.balance_manifest("blood"), "kept")
    assert run("images.npy") == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 6
    assert "nowhere holds no champion (champion.json is missing)" in lines[2]
    assert "dvc repro balance@blood" in lines[-1]
    assert not Path("data/drift").exists()


def test_what_is_not_compared_is_told_and_safe_for_a_terminal(task: Task, capsys: pytest.CaptureFixture[str]) -> None:
    Path("in").mkdir()
    for number, image in enumerate(validation(task)[1][:8]):
        Image.fromarray(image).save(f"in/{number}.png")
    Path("in/notes.txt").touch()
    Path("in/bad\x1b[31m.png").write_bytes(b"text")
    assert run("in", "--skip-unreadable", "--batch", "3") in (0, 3)
    told = capsys.readouterr().err
    assert "note: 1 files left out (not pictures, or results of an earlier prediction): notes.txt" in told
    assert "skipped: in/bad\\x1b[31m.png is not a jpg" in told


def test_a_champion_of_images_of_another_size_is_one_line(
    task: Task, champion: predictor.Predictor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("images.npy", validation(task)[1])
    small = tasks.of("blood", dataclasses.replace(task.spec, height=48))
    monkeypatch.setattr(predictor, "read", lambda *_: dataclasses.replace(champion, task=small))
    Path("old").mkdir()
    record = {**dataclasses.asdict(small.spec), **champion.record, "task": "blood", "background": None}
    files.write_json(Path("old/champion.json"), record)
    Path("old/model.keras").touch()
    assert run("images.npy", "--model", "old", "--sha256", file_hash(Path("old/model.keras"))) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "error: the champion in old is for images of 48x32x3 (height x width x channels), but blood's are"
    )
    assert not Path("data/drift").exists()


@pytest.mark.parametrize("output", ["/proc/x", "file", "file/x", "folder"])
def test_an_output_that_cannot_be_written_is_one_line(
    task: Task, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("images.npy", validation(task)[1])
    Path("file").touch()
    Path("folder/summary.json").mkdir(parents=True)
    assert run("images.npy", "--output", output) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: /proc/x" if output == "/proc/x" else f"error: {output.removesuffix('/x')}")


@pytest.mark.parametrize("part", ["page", "summary"])
def test_a_disk_that_is_full_leaves_neither_file(task: Task, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    def fail(*_: object) -> str:
        raise OSError(errno.ENOSPC, "full")

    np.save("images.npy", validation(task)[1])
    monkeypatch.setattr(report, part, fail)
    assert run("images.npy", "--output", "drift") == 2
    assert not list(Path("drift").iterdir())


def test_a_damaged_manifest_is_no_drift(task: Task, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("images.npy", validation(task)[1])
    manifest = paths.balance_manifest("blood")
    incomplete, conflict = pd.read_parquet(manifest).drop(columns="content_hash"), b"<<<<<<< HEAD"
    for content in (incomplete.to_parquet(), conflict):
        manifest.write_bytes(content)
        assert run("images.npy") == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "balance.parquet is damaged" in line
        assert "run `dvc repro balance@blood`" in line


@pytest.mark.parametrize("asked", [False, True])
def test_the_strangest_come_first_and_the_usual_are_training_images(
    task: Task, champion: predictor.Predictor, asked: bool
) -> None:
    names, images = validation(task)
    images = images.copy()
    for place, darker in ((7, 100), (19, 60)):
        images[place] = (images[place].astype(int) - darker).clip(0)
    # in two batches, the strangest in the first
    batches = [(names[:10], images[:10]), (names[10:], images[10:])]
    outcome = examine(task, batches, champion if asked else None, SETTINGS)
    assert [name for name, _ in outcome.strangest][:2] == ["7.png", "19.png"]
    np.testing.assert_array_equal(outcome.strangest[0][1], images[7])
    assert outcome.training == len(outcome.reference["brightness"]) == 100
    assert [name for name, _ in outcome.usual] == ["image 0", "image 33", "image 66", "image 99"]
    np.testing.assert_array_equal(outcome.usual[1][1], np.load(paths.images("blood"))[33])


def test_more_statistics_need_larger_distances() -> None:
    settings = Drift(significance=0.01, distance=0.0, examples=1)
    for count in (1, 4):
        one, other = ({name: normal(0, *drawn) for name in "abcd"[:count]} for drawn in ((60, 0), (40, 1)))
        found = compare(one, other, settings)
        expected = math.sqrt(-math.log(0.01 / count / 2) / 2) * math.sqrt(100 / 2400)
        assert {each.noticed for each in found} == {round(expected, 6)}


def test_a_difference_of_the_configured_distance_counts() -> None:
    settings = Drift(significance=0.01, distance=0.5, examples=1)
    (found,) = compare({"a": np.arange(100.0)}, {"a": np.arange(50.0, 150.0)}, settings)
    assert found.distance == 0.5
    assert found.drifted


def test_findings_that_count_come_first_then_larger_distances() -> None:
    many, few = np.arange(100.0), np.arange(2.0)
    before = {"few": few, "half": many, "most": many}
    after = {"few": few + 5, "half": many + 50, "most": many + 80}
    found = compare(before, after, SETTINGS)
    assert [(each.name, each.drifted) for each in found] == [("most", True), ("half", True), ("few", False)]


def test_the_middle_of_a_statistic_is_its_median() -> None:
    skewed = np.array([0.0, 0.0, 0.0, 100.0])
    (found,) = compare({"a": skewed}, {"a": skewed + 1}, SETTINGS)
    assert (found.before, found.after) == (0.0, 1.0)


def test_unlikeness_is_a_distance_not_its_square(task: Task, champion: predictor.Predictor) -> None:
    outputs = measurement.validation_outputs(task, champion, frozenset())
    squares = champion.predict(validation(task)[1]).unlikeness
    assert outputs["unlikeness"] == pytest.approx(np.sqrt(squares), abs=1e-6)


def made_up(*findings: tuple[str, bool, float, float, float]) -> report.Report:
    """Return a report of findings: name, whether drifted, smallest noticed distance, medians."""
    found = [
        Finding(name=name, distance=0.5, p_value=0.0, noticed=noticed, drifted=drifted, before=before, after=after)
        for name, drifted, noticed, before, after in findings
    ]
    numbers: Any = {"images": 7, "training": 100, "validation": 30, "champion": "", "reference": {}, "incoming": {}}
    task = tasks.make("blood", params.load(ROOT))
    return report.Report(task=task, findings=found, strangest=[], usual=[], **numbers)


def test_the_verdict_names_three_findings_and_their_directions() -> None:
    found = made_up(
        ("a", True, 0.2, 1, 2),
        ("b", True, 0.2, 2, 1),
        ("c", True, 0.2, 1, 1),
        ("d", True, 0.2, 1, 2),
        ("e", False, 0.2, 1, 1),
    )
    assert found.verdict == (
        "Drift in 7 images: 4 of 5 statistics are distributed differently, most of all a (higher), b (lower), "
        "c (spread differently) and 1 more."
    )


def test_the_bound_is_that_of_the_statistic_that_shows_least() -> None:
    assert made_up(("a", False, 0.2, 1, 1), ("b", False, 0.3, 1, 1)).verdict == (
        "No drift found in 7 images: with so many, a distance below 0.30 (of 1) may go unnoticed."
    )
    assert "so few images cannot show a difference" in made_up(("a", False, 0.2, 1, 1), ("b", False, 1.0, 1, 1)).verdict


def test_summary_and_page_count_each_set_of_images(task: Task, champion: predictor.Predictor) -> None:
    incoming = validation(task, "brightness_down", count=20)
    outcome = examine(task, [incoming], champion, SETTINGS)
    found = report.summary(outcome)
    counts = ("images", "training_images", "validation_images", "champion")
    assert [found[name] for name in counts] == [20, 100, 30, "bright"]
    page = report.page(outcome)
    assert "champion <code>bright</code> are compared with those for 30 validation images" in page
    assert "✗ brightness, distance" in page
    alone = report.summary(examine(task, [incoming], None, SETTINGS))
    assert [alone[name] for name in counts] == [20, 100, 0, None]
    every = report.page(examine(task, [validation(task)], champion, SETTINGS))
    assert "champion <code>bright</code> are not compared, because all validation images are among" in every
    assert "no champion yet" not in every


def test_pictures_of_another_size_are_compared_after_scaling(task: Task) -> None:
    Path("in").mkdir()
    for number, image in enumerate(validation(task)[1][:8]):
        Image.fromarray(image).resize((48, 40)).save(f"in/{number}.png")
    assert run("in") in (0, 3)


def test_a_hash_without_a_champion_is_refused(task: Task, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("images.npy", validation(task)[1])
    assert run("images.npy", "--sha256", "0" * 64) == 2
    assert "data/blood/champion holds no champion" in capsys.readouterr().err
