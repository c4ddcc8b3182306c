"""Retraining as CI does it, without GitHub: a bare repository, a DVC remote, and a fresh clone each time.

It takes minutes: `pytest -m slow tests/retrain/test_pipeline.py`.
"""

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.small_experiment import copy_tree, edit
from terracyte.core import files, paths
from terracyte.retrain import retraining

pytestmark = pytest.mark.slow

CLASSES = ("red", "green", "blue")
KEPT = ("blood-baseline", "blood-cnn", "mars-baseline")
TRAINED = re.compile(r"Running stage '(train@[^']+)'")
BLOOD_DATA = {f"{stage}@blood" for stage in ("ingest", "validate", "clean", "balance")}


@dataclasses.dataclass(frozen=True)
class Team:
    """What a team shares: the bare repository, the pictures, and a folder for clones."""

    origin: Path
    pictures: Path
    folder: Path

    def clone(self, branch: str) -> Path:
        """Make a fresh clone, on a new branch unless it is `main`."""
        clone = self.folder / f"clone-{branch}"
        run(["git", "clone", "--quiet", str(self.origin), str(clone)], self.folder)
        if branch != "main":
            run(["git", "switch", "--quiet", "--create", branch], clone)
        return clone


def run(command: list[str], folder: Path, expected: int = 0) -> str:
    scripts = Path(sys.executable).parent
    author = {f"GIT_{who}_{what}": "test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **author, "PATH": f"{scripts}:{os.environ['PATH']}", "PYTHONPATH": str(folder)}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == expected, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout


def commit(folder: Path, message: str) -> None:
    run(["git", "add", "--all"], folder)
    run(["git", "commit", "--quiet", "-m", message], folder)


def draw(folder: Path, first: int, count: int) -> None:
    """Draw blotches of each class's colour, no two alike; every sixth is in a wrong folder: no score is perfect."""
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(first, first + count):
            blotches = np.random.default_rng([label, number]).integers(0, 90, (8, 8, 3))
            blotches[..., (label + (number % 6 == 5)) % len(CLASSES)] += 150
            pixels = blotches.repeat(4, axis=0).repeat(4, axis=1).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def shrink(content: Any) -> None:
    content["tasks"]["blood"].update(classes=list(CLASSES), height=32, width=32)
    content["reference"]["blood"].update(width=4, depth=1, batch_size=8, epochs=5, learning_rate=5e-3)
    content["variants"] = {name: content["variants"][name] for name in KEPT}
    content["variants"]["blood-cnn"]["change"] = {}
    content["evaluate"]["bootstrap"] = 50
    # so small a network would fail the behaviour tests
    content["promote"]["blood"].update(flip_agreement=0.0, brightness_agreement=0.0)
    content["report"].update(examples=2, hardest=2, contact_sheet=4)
    for task, tune in content["tune"].items():
        tune.update(trials=0, variant=f"{task}-baseline")


def choose(content: Any) -> None:
    content["sources"]["blood"] = {"source": "folder", "path": "data/sources/cells"}
    content["rows"] = {name: name.partition("-")[0] for name in KEPT}
    content["override"] = {}


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Team:
    """The project on a small folder of pictures, its results committed, pushed, and in the remote."""
    folder = tmp_path_factory.mktemp("team")
    shared = Team(folder / "origin.git", folder / "pictures", folder)
    run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(shared.origin)], folder)
    start = shared.clone("main").rename(folder / "start")
    copy_tree(start, left_out=("dvc.lock", "metrics"))
    edit(start / paths.PARAMS, shrink)
    edit(start / paths.EXPERIMENT, choose)
    draw(shared.pictures, 0, 24)
    run(["git", "switch", "--quiet", "--create", "main"], start)
    commit(start, "code")
    run(["dvc", "remote", "add", "--default", "storage", str(folder / "storage")], start)
    run(["dvc", "import-url", str(shared.pictures), "data/sources/cells"], start)
    run(["dvc", "repro", "evaluate"], start)
    commit(start, "results")
    run(["dvc", "push", "--run-cache"], start)
    run(["git", "push", "--quiet", "origin", "main"], start)
    return shared


def retrained(clone: Path, *options: str, expected: int = 0) -> dict[str, Any]:
    """Retrain; return the summary and the stages that trained here. Without --promote no champion may change."""
    champions = sorted((clone / paths.METRICS).glob("*/promotion.json"))
    before = [path.read_bytes() for path in champions]
    said = run([sys.executable, "-m", "terracyte.cli", "retrain", "--base", "origin/main", *options], clone, expected)
    if "--promote" not in options:
        assert [path.read_bytes() for path in champions] == before
    found: dict[str, Any] = files.read_json(clone / retraining.OUTPUT / "summary.json")
    (outcome,) = found.pop("experiments")
    assert outcome["experiment"] == "."
    return {**found, **outcome, "trained": TRAINED.findall(said)}


def comment(clone: Path) -> str:
    return (clone / retraining.OUTPUT / "comment.md").read_text(encoding="utf-8")


def test_no_change_runs_nothing(team: Team) -> None:
    clone = team.clone("same")
    summary = retrained(clone)
    assert summary["changed"] == summary["trained"] == []
    assert not (clone / paths.models("blood", "blood-cnn")).exists()  # outputs that nothing needs are not fetched
    assert "no stage ran" in comment(clone)
    assert run(["git", "status", "--porcelain"], clone) == ""


def test_the_cache_alone_serves_where_there_is_no_remote(team: Team) -> None:
    clone = team.clone("cache-only")
    run(["dvc", "remote", "remove", "storage"], clone)
    shutil.copytree(team.folder / "start/.dvc/cache", clone / ".dvc/cache")
    assert retrained(clone)["trained"] == []


def test_a_changed_variant_is_one_training_and_none_for_the_next_clone(team: Team) -> None:
    clone = team.clone("wider")
    edit(clone / paths.PARAMS, lambda content: content["variants"]["blood-cnn"]["change"].update(epochs=6))
    summary = retrained(clone)
    assert summary["trained"] == ["train@blood-cnn"]
    assert "**1 training** (`blood-cnn`)" in comment(clone)
    assert [stage for stage in summary["changed"] if stage.startswith("evaluate@")] == ["evaluate@blood-cnn"]
    # the run cache was pushed, too: a clone with the same change trains nothing
    other = team.clone("wider-again")
    shutil.copy(clone / paths.PARAMS, other / paths.PARAMS)
    assert retrained(other)["trained"] == []


def test_a_harmful_change_is_stopped(team: Team) -> None:
    clone = team.clone("harmful")
    edit(clone / paths.PARAMS, lambda content: content["reference"]["blood"].update(learning_rate=1e-7, warmup=0.0))
    summary = retrained(clone, expected=3)
    assert [verdict["task"] for verdict in summary["verdicts"] if verdict["reasons"]] == ["blood"]
    assert "## Retraining: stopped by the gate" in comment(clone)
    assert "**Stopped.** The accuracy of the champion `blood-cnn` fell to" in comment(clone)


def test_new_data_run_the_data_stages_and_the_trainings_on_them(team: Team) -> None:
    draw(team.pictures, 100, 6)
    clone = team.clone("new-data")
    summary = retrained(clone, "--update")
    assert set(summary["changed"]) >= BLOOD_DATA
    assert summary["trained"] == ["train@blood-baseline", "train@blood-cnn"]
    assert not any(stage.endswith("@mars") or "mars-" in stage for stage in summary["changed"])
    assert "The data changed" in comment(clone)


def test_champions_are_promoted_on_main_alone(team: Team) -> None:
    clone = team.clone("main")
    edit(clone / paths.PARAMS, lambda content: content["variants"]["blood-cnn"]["change"].update(epochs=6))
    summary = retrained(clone, "--promote")
    assert summary["promoted"]
    assert {"promote@blood", "promote@mars", "report@blood"} <= set(summary["changed"])
    assert files.read_json(clone / paths.promotion("blood"))["champion"]["variant"] == "blood-cnn"
    commit(clone, "results")
    # from here on the gate protects the promoted champion
    run(["git", "push", "--quiet", "origin", "main"], clone)
    branch = team.clone("without-champion")
    edit(branch / paths.PARAMS, lambda content: content["variants"].pop("blood-cnn"))
    edit(branch / paths.EXPERIMENT, lambda content: content["rows"].pop("blood-cnn"))
    edit(branch / paths.PARAMS, lambda content: content["tune"]["blood"].update(variant="blood-baseline"))
    retrained(branch, expected=3)
    assert "**Stopped.** The champion `blood-cnn` is no longer a row" in comment(branch)
