"""A throw-away project folder for each test that touches files."""

import contextlib
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]

Edit = Callable[[str, Any], None]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project with the real params.yaml and source recipes, being the working directory."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / "data/sources", tmp_path / "data/sources")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def edit(project: Path) -> Edit:
    """Set one parameter of the project's params.yaml by its dotted path."""
    from ruamel.yaml import YAML

    def change(path: str, value: Any) -> None:
        yaml = YAML()
        file = project / "params.yaml"
        content = yaml.load(file.read_text(encoding="utf-8"))
        *parents, last = path.split(".")
        node = content
        for parent in parents:
            node = node[parent]
        node[last] = value
        with file.open("w", encoding="utf-8") as stream:
            yaml.dump(content, stream)

    return change


@pytest.fixture(scope="session")
def finished_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as `tests.finished_project` builds it: made once, to be copied."""
    from tests import finished_project

    folder = tmp_path_factory.mktemp("finished")
    shutil.copy(ROOT / "params.yaml", folder)
    with contextlib.chdir(folder):
        finished_project.build()
    return folder


@pytest.fixture
def finished(project: Path, finished_template: Path) -> Path:
    """A project, being the working directory, whose every stage before `report` seems to have run."""
    shutil.copytree(finished_template, project, dirs_exist_ok=True)
    return project


@pytest.fixture(scope="session")
def reported_template(finished_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished project with the report's tables and page; MLflow is told nothing. To be read, or to be copied."""
    from stages import report
    from terracyte.report import champions, runs

    folder = tmp_path_factory.mktemp("reported")
    shutil.copytree(finished_template, folder, dirs_exist_ok=True)
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["report"])
        for place, name in ((runs, "reconcile"), (champions, "register"), (runs, "log_report")):
            patch.setattr(place, name, lambda *_: None)
        report.main()
    return folder


@pytest.fixture(scope="session")
def champions_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A balanced project with a champion of each task: made once, to be copied."""
    from tests import balanced_project, champions

    folder = tmp_path_factory.mktemp("champions")
    shutil.copy(ROOT / "params.yaml", folder)
    with contextlib.chdir(folder):
        balanced_project.write(folder)
        for task in ("blood", "mars"):
            champions.write(task)
    return folder


# A second of processor time each: networks of champions, by the bytes of their models.
_COMPILED: dict[bytes, Any] = {}


@pytest.fixture
def champions(project: Path, champions_template: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project, being the working directory, with balanced data and a champion of each task, each compiled once."""
    from terracyte.predict import predictor

    compile_anew = predictor._compiled

    def compiled(model: Path, image_shape: tuple[int, int, int]) -> Any:
        content = model.read_bytes()
        if content not in _COMPILED:
            _COMPILED[content] = compile_anew(model, image_shape)
        return _COMPILED[content]

    monkeypatch.setattr(predictor, "_compiled", compiled)
    shutil.copytree(champions_template, project, dirs_exist_ok=True)
    return project
