"""Errors that can be found before DVC starts are reported before DVC removes anything."""

import subprocess
from pathlib import Path

import pytest

from terracyte.core.errors import InputError
from terracyte.params.check import check
from tests.conftest import ROOT, Edit


@pytest.fixture
def experiment(project: Path) -> Path:
    """An experiment that passes the check: with dvc.yaml, stages/ and the folder of weights."""
    (project / "dvc.yaml").write_bytes((ROOT / "dvc.yaml").read_bytes())
    for name in ("stages", "data/weights"):
        (project / name).mkdir()
    return project


def test_a_sound_experiment_passes(experiment: Path) -> None:
    check(experiment)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (
            "sources.mars",
            {"source": "challenge", "path": "nowhere/mars.npz"},
            r"'sources\.mars\.path' is 'nowhere/mars\.npz', which does not exist; name what the source 'challenge'",
        ),
        ("variants.mars-unet_1.change.flipp", "none", r"'variants\.mars-unet_1\.change\.flipp' is unknown; .* 'flip'"),
        ("weights", "nowhere", "'weights' is 'nowhere', which is not a folder"),
        ("root", "nowhere", r"'root' is 'nowhere', which has no stages/"),
    ],
)
def test_what_is_missing_or_misspelt_is_named(
    experiment: Path, edit: Edit, path: str, value: object, expected: str
) -> None:
    edit(path, value)
    with pytest.raises(InputError, match=expected):
        check(experiment)


def test_an_experiment_has_the_stages_of_the_root(experiment: Path) -> None:
    folder = experiment / "mine"
    folder.mkdir()
    for name in ("params.yaml", "experiment.yaml"):
        (folder / name).write_text((experiment / name).read_text().replace("root: .", "root: .."))
    (folder / "dvc.yaml").write_text("stages: {}\n")
    with pytest.raises(
        InputError, match=r"mine/dvc\.yaml differs from .*/dvc\.yaml: replace it with a copy of that file"
    ):
        check(folder)


@pytest.mark.parametrize(("target", "expected"), [("real", "DATA is ''"), ("report", "there is no report yet")])
def test_make_says_what_to_do(tmp_path: Path, target: str, expected: str) -> None:
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/installed").touch()
    result = subprocess.run(["make", target], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert expected in result.stderr.splitlines()[0]
