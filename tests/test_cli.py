"""The command `terracyte`: what its sub-commands share."""

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from terracyte import cli
from terracyte.core import paths
from terracyte.core.arguments import of_task
from tests.conftest import ROOT, TASKS

HEAVY = "keras", "tensorflow", "numpy", "scipy", "pandas", "mlflow", "matplotlib", "dvc", "ray", "optuna"


def shown(script: str) -> str:
    """Run a script and return what it prints; fail if it imports a large library."""
    checked = f"import contextlib, sys\n{script}\nprint('imported:', *sorted(set({HEAVY}) & sys.modules.keys()))"
    result = subprocess.run([sys.executable, "-c", checked], cwd=ROOT, capture_output=True, text=True, check=True)
    *lines, imported = result.stdout.splitlines()
    assert imported == "imported:"
    return "\n".join(lines)


def test_help_imports_no_large_library() -> None:
    text = shown("""
from terracyte import cli
for command in [], *([name] for name in cli.COMMANDS):
    with contextlib.suppress(SystemExit):
        cli.main([*command, "--help"])
""")
    for name in cli.COMMANDS:
        assert f"\n    {name} " in text
        assert f"usage: terracyte {name}" in text
    assert "3: drift" in text


@pytest.mark.parametrize("stage", sorted(file.stem for file in (ROOT / "stages").glob("[a-z]*.py")))
def test_a_stage_s_help_imports_no_large_library(stage: str) -> None:
    text = shown(f"""
import runpy
sys.argv = ["{stage}", "--help"]
with contextlib.suppress(SystemExit):
    runpy.run_module("stages.{stage}", run_name="__main__")
""")
    assert f"usage: {stage}" in text
    assert f"\n{stage}: " in text  # the line that says what the stage does


@pytest.mark.parametrize(
    "command",
    [
        ["predict", "blood", "in", "--output", "out"],
        ["serve", "blood"],
        ["drift", "blood", "in"],
        ["retrain", "--base", "HEAD"],
        ["ui"],
        ["tables"],
        ["check"],
        ["repro"],
    ],
    ids=lambda command: str(command[0]),
)
def test_a_folder_that_is_no_experiment_is_refused(
    command: list[str], project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main([*command, "--experiment", "data"])
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "error: --experiment is 'data', which is not an experiment: name a folder with a dvc.yaml"


def test_predict_uses_the_experiments_champion_and_the_users_paths(
    champions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (champions / "dvc.yaml").touch()
    outside = champions / "outside"
    outside.mkdir()
    shutil.copy(paths.images("blood"), outside / "images.npy")
    monkeypatch.chdir(outside)
    cli.main(["predict", "blood", "images.npy", "--output", "table.csv", "--experiment", ".."])
    assert len(pd.read_csv(outside / "table.csv"))


def test_a_task_of_ones_own_is_looked_for_in_the_folder_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert of_task(None, "cells") == Path()
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells" / "experiment.yaml").touch()
    assert of_task(None, "cells") == Path("cells")
    assert of_task(None, "blood") == Path()
    assert of_task(Path("real"), "cells") == Path("real")


@pytest.mark.parametrize("workers", ["0", "-1", "two"])
def test_a_number_of_rows_that_cannot_be_meant_is_refused(
    workers: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "dvc.yaml").touch()
    with pytest.raises(SystemExit, match="2"):
        cli.main(["repro", "--workers", workers])
    assert "argument --workers: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], (Path(), 5, [])),  # as many rows at a time as cores
        (["--workers", "auto"], (Path(), 5, [])),
        (["--workers", "2"], (Path(), 2, [])),
        (["submit@blood", "report@blood", "--experiment", "mine"], (Path("mine"), 5, ["submit@blood", "report@blood"])),
    ],
)
def test_what_is_run_is_what_was_asked_for(
    given: list[str], expected: tuple[Path, int, list[str]], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "mine").mkdir()
    (project / "mine/dvc.yaml").touch()
    asked: list[object] = []
    monkeypatch.setattr("terracyte.core.cores.available", lambda: 5)
    monkeypatch.setattr("terracyte.repro.stages.reproduce", lambda *arguments: asked.append(arguments))
    cli.main(["repro", *given])
    assert asked == [expected]


def test_tables_are_those_of_the_report_or_none(
    reported_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path /= "mars"  # a folder that the task's name finds
    tmp_path.mkdir()
    monkeypatch.chdir(tmp_path.parent)
    for name in ("dvc.yaml", "params.yaml", "experiment.yaml"):
        shutil.copy(ROOT / name if name == "dvc.yaml" else reported_template / name, tmp_path)
    shutil.copytree(reported_template / "metrics", tmp_path / "metrics")
    written = [tmp_path / path(task) for task in TASKS for path in (paths.ablation_markdown, paths.ablation_csv)]
    expected = [file.read_bytes() for file in written]
    for file in written:
        file.unlink()
    cli.main(["tables", "--experiment", str(tmp_path)])
    assert [file.read_bytes() for file in written] == expected
    assert capsys.readouterr().out.splitlines() == [str(file) for file in written[::2]]
    cli.main(["tables", "mars"])
    assert capsys.readouterr().out.splitlines() == ["mars/metrics/mars/ablation.md"]

    for file in (*written, tmp_path / paths.scores("mars", "mars-unet")):
        file.unlink()
    with pytest.raises(SystemExit, match="2"):
        cli.main(["tables", "--experiment", str(tmp_path)])
    assert "metrics/mars/scores/mars-unet.json is missing" in capsys.readouterr().err
    assert not any(file.exists() for file in written)
