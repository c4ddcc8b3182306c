"""Shared helpers and fixtures: above all a throw-away project folder for each test that touches files."""

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

gc.disable()  # until all tests are imported: imports leave no garbage, and collecting would take a sixth of the time

ROOT = Path(__file__).parents[1]
TASKS = ("blood", "mars")  # the tasks of the root's experiment

Edit = Callable[[str, Any], None]


# One thread each: several test processes run side by side, and some tests import Keras by themselves.
for _name in quiet.THREADS:
    os.environ.setdefault(_name, "1")

# A shell makes background processes ignore Ctrl-C (SIGINT); all processes that tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def copy_settings(folder: Path) -> None:
    """Copy the root's params.yaml and experiment.yaml into `folder`."""
    for name in ("params.yaml", "experiment.yaml"):
        shutil.copy(ROOT / name, folder)


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    """Wait until the condition holds; fail if it does not within `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def git(*arguments: str, folder: Path = Path()) -> str:
    """Run a git command in `folder` and return what it prints."""
    command = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def commit(folder: Path = Path()) -> None:
    """Commit all files of `folder`; make it a repository first if it is none."""
    git("init", "--quiet", "--initial-branch=main", folder=folder)
    git("add", "--all", folder=folder)
    git("commit", "--quiet", "-m", "all", folder=folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the one test that takes minutes first, so that no process is left with it alone at the end."""
    items.sort(key=lambda item: item.path.name != "test_pipeline.py")


def pytest_collection_finish() -> None:
    """Freeze what was imported: it stays, so the garbage collector need not scan it again and again."""
    gc.enable()
    gc.freeze()


# Parsed YAML by its text: parsing params.yaml takes a tenth of a second, and most tests read it several times.
_PARSED: dict[str, Any] = {}


@pytest.fixture(scope="session", autouse=True)
def parsed_once() -> Iterator[None]:
    """Parse equal YAML text only once, and text that `write_settings` wrote not at all."""
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
    # JSON is valid YAML except for NaN, and is written much faster
    as_json = json.dumps(content, indent=1)
    text = as_json.replace("NaN", ".nan")
    _PARSED[text] = json.loads(as_json)
    file.write_text(text, encoding="utf-8")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty experiment with the root's params.yaml, experiment.yaml and recipes; it is the working directory."""
    copy_settings(tmp_path)
    shutil.copytree(ROOT / "data/sources", tmp_path / "data/sources")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def edit(project: Path) -> Edit:
    """A function that sets one value of the project's params.yaml or experiment.yaml, by its dotted path."""

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
    """An empty MLflow store, made once for all test processes: MLflow takes 10 s to make one."""
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
    """A project in which all stages before `report` seem to have run; it is the working directory."""
    shutil.copytree(finished_template, project, dirs_exist_ok=True)
    return project


@pytest.fixture(scope="session")
def reported_template(finished_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished project with each task's tables and page, but nothing recorded in MLflow. To be copied or read."""
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


# Compiled networks of champions, by the bytes of their models: compiling takes a second of processor time each.
_COMPILED: dict[bytes, Any] = {}


@pytest.fixture
def champions(project: Path, champions_template: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with balanced data and a champion of each task, compiled once; it is the working directory."""
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
