"""Variants side by side, where they fail; tests/test_pipeline.py has them succeed."""

import json
from pathlib import Path

import pytest

from terracyte.compute import side_by_side
from terracyte.core import paths
from terracyte.core.errors import InputError
from tests.conftest import ROOT


def test_what_is_trained_is_evaluated_too(monkeypatch: pytest.MonkeyPatch) -> None:
    changed: dict[str, list[str]] = {"train@new": [], "evaluate@new": [], "train@edited": [], "evaluate@unscored": []}
    monkeypatch.setattr(side_by_side, "_dvc", lambda *_: json.dumps(changed))
    assert side_by_side.due(["new", "edited", "unscored", "finished"]) == {
        "new": ("train", "evaluate"),
        "edited": ("train", "evaluate"),
        "unscored": ("evaluate",),
    }


def test_a_variant_that_fails_leaves_the_others_alone(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stages = project / "stages"
    stages.mkdir()
    (stages / "train.py").write_text("import sys; print('error: no data'); sys.exit(2 * (sys.argv[1] == 'bad'))")
    (stages / "evaluate.py").write_text("import pathlib, sys; pathlib.Path('scored').touch()")
    committed: list[tuple[str, ...]] = []
    monkeypatch.setattr(side_by_side, "_dvc", lambda *arguments: committed.append(arguments))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    failures = side_by_side.run({"bad": ("train", "evaluate"), "good": ("train", "evaluate")}, workers=2)
    (line,) = failures
    assert line.startswith("bad: train failed with exit code 2: error: no data")
    assert str(paths.LOGS / "bad.log") in line
    assert committed == [("commit", "--force", "train@good", "evaluate@good")]
    assert (project / "scored").exists()

    assert side_by_side.run({"good": ("train", "evaluate")}, workers=2, whole=True) == []
    assert committed[1] == ("commit", "--force", "train", "evaluate")


def test_the_number_of_workers_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("sys.argv", ["side_by_side", "--workers", "0"])
    with pytest.raises(InputError, match="--workers is 0"):
        side_by_side.main()
