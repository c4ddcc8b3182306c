"""A throw-away project folder for each test that touches files."""

import contextlib
import copy
import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
TASKS = ("blood", "mars")  # those of the root's experiment

Edit = Callable[[str, Any], None]


def copy_settings(folder: Path) -> None:
    """The root's params.yaml and experiment.yaml."""
    for name in ("params.yaml", "experiment.yaml"):
        shutil.copy(ROOT / name, folder)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty experiment with the root's params.yaml, experiment.yaml and recipes, being the working directory."""
    copy_settings(tmp_path)
    shutil.copytree(ROOT / "data/sources", tmp_path / "data/sources")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@functools.cache
def _parsed(text: str) -> Any:
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True).load(text)


@pytest.fixture
def edit(project: Path) -> Edit:
    """Set one value of the project's params.yaml, or of its experiment.yaml, by its dotted path."""

    def change(path: str, value: Any) -> None:
        of_experiment = path.split(".")[0] in ("root", "weights", "sources", "rows", "override")
        file = project / ("experiment.yaml" if of_experiment else "params.yaml")
        content = copy.deepcopy(_parsed(file.read_text(encoding="utf-8")))
        *parents, last = path.split(".")
        node = content
        for parent in parents:
            node = node[parent]
        node[last] = value
        file.write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML, and quick to write

    return change


@pytest.fixture(scope="session")
def finished_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as `tests.finished_project` builds it: made once, to be copied."""
    from tests import finished_project

    folder = tmp_path_factory.mktemp("finished")
    copy_settings(folder)
    with contextlib.chdir(folder):
        finished_project.build()
    return folder


@pytest.fixture
def finished(project: Path, finished_template: Path) -> Path:
    """A project, being the working directory, whose every stage before `report` seems to have run."""
    shutil.copytree(finished_template, project, dirs_exist_ok=True)
    return project


@pytest.fixture(scope="session")
def champions_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A balanced project with a champion of each task: made once, to be copied."""
    from tests import balanced_project, champions

    folder = tmp_path_factory.mktemp("champions")
    copy_settings(folder)
    with contextlib.chdir(folder):
        balanced_project.write(folder)
        for task in TASKS:
            champions.write(task)
    return folder


@pytest.fixture
def champions(project: Path, champions_template: Path) -> Path:
    """A project, being the working directory, with balanced data and a champion of each task."""
    shutil.copytree(champions_template, project, dirs_exist_ok=True)
    return project
