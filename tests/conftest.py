"""A throw-away project folder for each test that touches files."""

import contextlib
import copy
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from terracyte.core import paths, quiet
from terracyte.params import yaml_files

gc.disable()  # until all tests are imported: an import leaves no garbage, and looking for it takes a sixth of the time

ROOT = Path(__file__).parents[1]
TASKS = ("blood", "mars")  # those of the root's experiment

Edit = Callable[[str, Any], None]


# Several processes test side by side, and some tests import Keras by themselves.
for _name in quiet.THREADS:
    os.environ.setdefault(_name, "1")

# A shell that starts the tests in the background has Ctrl-C ignored, which all that they start would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)


def copy_settings(folder: Path) -> None:
    """The root's params.yaml and experiment.yaml."""
    for name in ("params.yaml", "experiment.yaml"):
        shutil.copy(ROOT / name, folder)


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    """Wait until the condition holds; fail where it does not within that time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def git(*arguments: str, folder: Path = Path()) -> str:
    """What a git command prints, run in `folder`."""
    command = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def commit(folder: Path = Path()) -> None:
    """Commit all files of `folder`, which is made a repository where it is none."""
    git("init", "--quiet", "--initial-branch=main", folder=folder)
    git("add", "--all", folder=folder)
    git("commit", "--quiet", "-m", "all", folder=folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The one test of minutes comes first, so that no process is left with it alone at the end."""
    items.sort(key=lambda item: item.path.name != "test_pipeline.py")


def pytest_collection_finish() -> None:
    """What was imported stays: the collector of garbage need not go through it again and again."""
    gc.enable()
    gc.freeze()


# Contents of YAML files by their text: a tenth of a second for params.yaml, which most tests read several times.
_PARSED: dict[str, Any] = {}


@pytest.fixture(scope="session", autouse=True)
def parsed_once() -> Iterator[None]:
    """YAML of equal text is parsed once, and what `write_settings` wrote not at all."""
    parse = yaml_files.parse_yaml

    def parsed(text: str, path: Path) -> Any:
        if text not in _PARSED:
            _PARSED[text] = parse(text, path)
        return copy.deepcopy(_PARSED[text])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml_files, "parse_yaml", parsed)
        yield


def write_settings(file: Path, content: Any) -> None:
    """Write a params.yaml or experiment.yaml."""
    # JSON is YAML but for its NaN, and is written in no time
    as_json = json.dumps(content, indent=1)
    text = as_json.replace("NaN", ".nan")
    _PARSED[text] = json.loads(as_json)
    file.write_text(text, encoding="utf-8")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty experiment with the root's params.yaml, experiment.yaml and recipes, being the working directory."""
    copy_settings(tmp_path)
    shutil.copytree(ROOT / "data/sources", tmp_path / "data/sources")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def edit(project: Path) -> Edit:
    """Set one value of the project's params.yaml, or of its experiment.yaml, by its dotted path."""

    def change(path: str, value: Any) -> None:
        of_experiment = path.split(".")[0] in ("root", "weights", "sources", "rows", "override")
        file = project / ("experiment.yaml" if of_experiment else "params.yaml")
        content = yaml_files.read_yaml(file)
        *parents, last = path.split(".")
        node = content
        for parent in parents:
            node = node[parent]
        node[last] = value
        write_settings(file, content)

    return change


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store of MLflow's record, made once for all workers: MLflow takes 10 s to make one."""
    from terracyte.tracking import store

    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(folder):
        patch.delenv(store.SERVER, raising=False)
        store.prepare()
        return paths.mlflow().resolve()


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
def reported_template(finished_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished project with the tables and the page of each task; MLflow is told nothing. To be copied or read."""
    from stages import report
    from terracyte.report import champions, runs

    folder = tmp_path_factory.mktemp("reported")
    shutil.copytree(finished_template, folder, dirs_exist_ok=True)
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        for place, name in ((runs, "reconcile"), (champions, "register"), (runs, "log_report")):
            patch.setattr(place, name, lambda *_: None)
        for task in TASKS:
            patch.setattr(sys, "argv", ["report", task])
            report.main()
    return folder


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
        champions.record(*TASKS)
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
