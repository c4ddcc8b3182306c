"""Files, stages, params and tables must agree with each other."""

import ast
import functools
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ruamel.yaml import YAML

import terracyte
from terracyte import cli, params
from terracyte.core import hashing, paths
from terracyte.params.blocks import Corruption
from terracyte.params.yaml_files import read_yaml
from terracyte.train import variant
from tests.conftest import ROOT

STAGES = (
    *("ingest", "validate", "clean", "balance", "fetch", "tune", "configure"),
    *("train", "evaluate", "promote", "report", "submit"),
)
# Packages that no result depends on: a change in one of them makes no stage stale.
EXEMPT = {"core", "params", "compute", "tracking", "rendering"}
EXPERIMENTS = [ROOT, ROOT / "real"]  # users may have others in this folder
PIPELINE: dict[str, Any] = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text())["stages"]


@functools.cache
def imports(file: Path) -> frozenset[Path]:
    """Return the project files that `file` imports, directly or indirectly, at any place in the file.

    Imports of exempt packages are not followed: no result depends on them.
    """
    found: set[Path] = set()
    waiting = [file]
    while waiting:
        new = {target for target in direct_imports(waiting.pop()) if target not in found}
        found |= new
        waiting.extend(path for path in new if package(path) not in EXEMPT)
    return frozenset(found)


def direct_imports(file: Path) -> set[Path]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {path for name in names for path in module_files(name)}


def module_files(name: str) -> set[Path]:
    """Return the file of a module of the project, and the `__init__` files above it that hold code."""
    parts = name.split(".")
    if parts[0] != "terracyte":
        return set()
    above = {ROOT.joinpath(*parts[:depth], "__init__.py") for depth in range(1, len(parts) + 1)}
    candidates = above | {ROOT.joinpath(*parts).with_suffix(".py")}
    return {path for path in candidates if path.exists() and path.stat().st_size}


def package(path: Path) -> str:
    """Return the package of a file of terracyte/; "" for files directly in it."""
    parts = path.relative_to(ROOT / "terracyte").parts
    return parts[0] if len(parts) > 1 else ""


def reached(stage: str) -> set[str]:
    """Return the packages that a stage's result depends on, by its imports."""
    found = imports(ROOT / "stages" / f"{stage}.py")
    return {package(path) for path in found} - EXEMPT - {""}


def declared(stage: str) -> set[str]:
    """Return the packages that dvc.yaml names as dependencies of a stage."""
    definition = PIPELINE[stage].get("do", PIPELINE[stage])
    prefix = "${root}/terracyte/"
    return {dep.removeprefix(prefix) for dep in definition["deps"] if dep.startswith(prefix)}


def test_stages_are_the_files_in_order() -> None:
    assert tuple(PIPELINE) == STAGES
    assert {file.stem for file in (ROOT / "stages").glob("*.py")} - {"__init__"} == set(STAGES)
    assert {path.name for path in (ROOT / "terracyte").iterdir() if path.is_dir()} >= set(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_stage_files_are_short_and_explain_themselves(stage: str) -> None:
    text = (ROOT / "stages" / f"{stage}.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 40
    assert (ast.get_docstring(ast.parse(text)) or "").startswith(f"{stage}:")


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_packages_that_decide_its_result_and_on_no_others(stage: str) -> None:
    definition = PIPELINE[stage].get("do", PIPELINE[stage])
    assert f"${{root}}/stages/{stage}.py" in definition["deps"]
    needed, named = reached(stage), declared(stage)
    assert not needed - named, f"add to dvc.yaml, stage {stage}: {sorted(needed - named)}"
    assert not named - needed, f"remove from dvc.yaml, stage {stage}: {sorted(named - needed)}"


def test_the_code_version_of_a_row_is_that_of_the_packages_that_decide_it() -> None:
    assert set(variant.PACKAGES) == set(hashing.TRAINING) == declared("train")


def test_no_module_lies_loose() -> None:
    assert {file.name for file in (ROOT / "terracyte").glob("*.py")} == {"__init__.py", "cli.py"}


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        ("mlflow", {"tracking", "serve"}),
        ("optuna", {"tune/study.py"}),
        ("great_expectations", {"validate/expectations.py"}),
        ("ray", {"compute/cluster.py"}),
        ("matplotlib", {"rendering/charts.py"}),
        ("jinja2", {"rendering/templates.py"}),
    ],
)
def test_one_importer_of_each_engine(library: str, homes: set[str]) -> None:
    pattern = re.compile(rf"^\s*(import|from) {library}\b", re.MULTILINE)
    files = [file for folder in ("terracyte", "stages") for file in (ROOT / folder).rglob("*.py")]
    importers = {file.relative_to(ROOT / "terracyte") for file in files if pattern.search(file.read_text("utf-8"))}
    assert all(str(file) in homes or file.parts[0] in homes for file in importers)


def test_files_between_stages_are_read_in_one_place() -> None:
    """`core.files` turns a missing or damaged file into a one-line error that names it."""
    pattern = re.compile(r"pd\.read_|np\.load\(")
    files = [file for folder in ("terracyte", "stages") for file in (ROOT / folder).rglob("*.py")]
    readers = {file.relative_to(ROOT).as_posix() for file in files if pattern.search(file.read_text("utf-8"))}
    assert readers == {"terracyte/core/files.py"}


def test_every_changed_key_differs_from_what_it_changes() -> None:
    settings = params.load(ROOT / "real")  # in the root, overrides make some changes equal to the reference
    declared = read_yaml(ROOT / "params.yaml")["variants"]
    for name, each in settings.variants.items():
        before = {**settings.reference[each.task], **(settings.change(each.like) if each.like else {})}
        changes = {**each.change, **declared[name].get("change", {})}  # an override may take a change back
        for key, value in changes.items():
            assert key == "tuned" or before[key] != value, f"variants.{name}.change.{key} changes nothing"


def test_the_corruptions_are_those_that_there_are() -> None:
    from terracyte.images.shift.corruptions import CORRUPTIONS

    assert set(Corruption.__args__) == set(CORRUPTIONS)  # type: ignore[attr-defined]  # typing has no public way


@pytest.mark.parametrize("folder", EXPERIMENTS, ids=lambda folder: folder.name)
def test_each_experiment_can_be_loaded_and_is_brief(folder: Path) -> None:
    assert params.load(folder).experiment.rows
    assert len((folder / "experiment.yaml").read_text(encoding="utf-8").splitlines()) <= 30


@pytest.mark.parametrize("folder", EXPERIMENTS, ids=lambda folder: folder.name)
def test_metrics_hold_the_experiment_s_rows_and_no_others(folder: Path) -> None:
    settings = params.load(folder)
    for task in settings.task_names:
        rows = set(settings.rows_of(task))
        for kind in (paths.config, paths.training, paths.scores, paths.curves, paths.confusions):
            found = {file.stem for file in (folder / kind(task, "x")).parent.glob("*")} - {paths.evaluation(task).stem}
            assert found <= rows, f"{kind(task, 'x').parent}: {sorted(found - rows)} are no rows: delete them"


@pytest.mark.parametrize("folder", EXPERIMENTS, ids=lambda folder: folder.name)
def test_tables_are_made_again_from_git(folder: Path, tmp_path: Path) -> None:
    """Images, models and predictions are not needed: what git holds is enough."""
    finished = [task for task in params.load(folder).task_names if (folder / paths.ablation_markdown(task)).exists()]
    if not finished:
        pytest.skip(f"{folder.name} has no table yet")
    held = subprocess.run(["git", "ls-files", "-z", "."], cwd=folder, capture_output=True, text=True, check=True)
    for name in filter(None, held.stdout.split("\0")):
        if name.startswith("metrics/") or name in ("dvc.yaml", paths.PARAMS.name, paths.EXPERIMENT.name):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes((folder / name).read_bytes())
    for name in finished:
        for table in (paths.ablation_markdown(name), paths.ablation_csv(name)):
            (tmp_path / table).unlink()
    cli.main(["tables", *finished, "--experiment", str(tmp_path)])
    for name in finished:
        markdown, table = paths.ablation_markdown(name), paths.ablation_csv(name)
        assert (tmp_path / markdown).read_text("utf-8") == (folder / markdown).read_text("utf-8")
        # compared as numbers: the table in git may come from another kind of processor
        made, kept = pd.read_csv(tmp_path / table), pd.read_csv(folder / table)
        pd.testing.assert_frame_equal(made, kept, rtol=1e-9)


def test_real_has_the_root_s_stages_and_parameters() -> None:
    # copies, since DVC reads a symbolic link of another commit as text: `dvc metrics diff` would fail
    for name in ("dvc.yaml", "params.yaml"):
        assert (ROOT / "real" / name).read_bytes() == (ROOT / name).read_bytes(), f"cp {name} real/"


def test_the_lock_names_no_registry() -> None:
    assert "://" not in (ROOT / "requirements.lock").read_text(encoding="utf-8")


def test_the_version_is_the_newest_release_of_the_changelog() -> None:
    released = re.findall(
        r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert terracyte.__version__ == project["version"] == released[0]


def test_make_alone_lists_every_target() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z-]+):", text, re.MULTILINE)
    shown = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert all(f"make {target}" in shown.stdout for target in targets)


@pytest.mark.parametrize("file", ["compose.yaml", "docs/team.md"])
def test_mlflow_and_optuna_are_told_two_databases(file: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    assert re.findall(r"(?:create database |POSTGRES_DB: )(\w+)", text) in (
        ["studies", "mlflow"],
        ["mlflow", "studies"],
    )
    assert re.findall(r"MLFLOW_BACKEND_STORE_URI\W+postgresql\S+/(\w+)", text) == ["mlflow"]
