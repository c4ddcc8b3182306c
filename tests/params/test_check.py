"""What is wrong before DVC starts is said before DVC removes anything."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Edit


def preflight(*arguments: str, folder: Path = Path()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "terracyte.cli", "check", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def assert_one_line(result: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("error: ")
    assert all(part in result.stderr for part in parts)


def test_a_sound_project_passes_silently(project: Path) -> None:
    result = preflight()
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_a_missing_source(edit: Edit) -> None:
    edit("sources.mars.source", "challenge")
    edit("sources.mars.path", "nowhere/mars.npz")
    assert_one_line(preflight(), "'sources.mars.path'", "'nowhere/mars.npz'")


def test_sources_are_seen_from_the_experiments_folder(project: Path) -> None:
    (project / "dvc.yaml").touch()
    (project / "elsewhere").mkdir()
    result = preflight("--experiment", "..", folder=project / "elsewhere")
    assert (result.returncode, result.stderr) == (0, "")


def test_a_misspelt_parameter(edit: Edit) -> None:
    edit("variants.mars-unet_1.change.flipp", "none")
    assert_one_line(preflight(), "'variants.mars-unet_1.change.flipp'", "'flip'")


def test_a_challenge_folder_without_its_files(project: Path) -> None:
    assert_one_line(preflight("--challenge", str(project)), "training_set.npz is missing")
    (project / "training_set.npz").touch()
    assert_one_line(preflight("--challenge", str(project)), "mars_for_students.npz is missing")


@pytest.mark.parametrize(("target", "expected"), [("real", "DATA is empty"), ("report", "there is no report yet")])
def test_make_says_what_to_do(tmp_path: Path, target: str, expected: str) -> None:
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/installed").touch()
    result = subprocess.run(["make", target], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert expected in result.stderr.splitlines()[0]
