"""What keeps the structure honest: files, stages, params and tables that say the same."""

import ast
import csv
import functools
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from terracyte import params
from terracyte.core import paths
from tests.conftest import ROOT

STAGES = ["ingest", "validate", "clean", "balance", "fetch", "tune", "train", "evaluate", "promote", "report", "submit"]
PIPELINE: dict[str, Any] = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text())["stages"]


@functools.cache
def imports(file: Path) -> frozenset[Path]:
    """Project files that `file` imports, directly or not, wherever in the file the import stands."""
    found: set[Path] = set()
    waiting = [file]
    while waiting:
        new = {target for target in direct_imports(waiting.pop()) if target not in found}
        found |= new
        waiting.extend(new)
    return frozenset(path.relative_to(ROOT) for path in found)


def direct_imports(file: Path) -> set[Path]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {path for name in names for path in module_files(name)}


def module_files(name: str) -> set[Path]:
    """The file of a module of the project and the `__init__` files above it that hold code."""
    parts = name.split(".")
    if parts[0] not in ("terracyte", "stages"):
        return set()
    above = {ROOT.joinpath(*parts[:depth], "__init__.py") for depth in range(1, len(parts) + 1)}
    candidates = above | {ROOT.joinpath(*parts).with_suffix(".py")}
    return {path for path in candidates if path.exists() and path.stat().st_size}


def definition(stage: str) -> dict[str, Any]:
    found: dict[str, Any] = PIPELINE[stage].get("do", PIPELINE[stage])
    return found


def code_deps(stage: str) -> set[str]:
    return {dep for dep in definition(stage)["deps"] if dep.startswith(("terracyte", "stages"))}


def test_stages_are_the_files_in_order() -> None:
    assert list(PIPELINE) == STAGES
    assert {file.stem for file in (ROOT / "stages").glob("*.py")} - {"__init__"} == set(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_stage_files_are_short_and_explain_themselves(stage: str) -> None:
    text = (ROOT / "stages" / f"{stage}.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 40
    assert (ast.get_docstring(ast.parse(text)) or "").startswith(f"{stage}:")


@pytest.mark.parametrize("stage", STAGES)
def test_deps_cover_every_import_and_nothing_else(stage: str) -> None:
    file = ROOT / "stages" / f"{stage}.py"
    needed = {str(path) for path in imports(file)} | {f"stages/{stage}.py"}
    declared = code_deps(stage)
    uncovered = {path for path in needed if not any(path == dep or path.startswith(f"{dep}/") for dep in declared)}
    unused = {dep for dep in declared if not any(path == dep or path.startswith(f"{dep}/") for path in needed)}
    assert not uncovered, f"add to dvc.yaml, stage {stage}: {sorted(uncovered)}"
    assert not unused, f"remove from dvc.yaml, stage {stage}: {sorted(unused)}"


def test_no_training_depends_on_the_report_or_the_registry() -> None:
    wanted = {"terracyte/rendering/formats.py"}  # sentences and cards have figures, too
    for stage in set(STAGES) - {"report"}:
        needed = {str(path) for path in imports(ROOT / "stages" / f"{stage}.py")} - wanted
        assert not [path for path in needed if path.startswith(("terracyte/report", "terracyte/serve/registry"))]


@pytest.mark.parametrize(
    ("library", "home"),
    [
        ("mlflow", "tracking"),
        ("optuna", "tuning"),
        ("great_expectations", "expectations"),
        ("ray", "cluster"),
        ("matplotlib", "charts"),
        ("jinja2", "templates"),
    ],
)
def test_one_importer_of_each_engine(library: str, home: str) -> None:
    pattern = re.compile(rf"^\s*(import|from) {library}\b", re.MULTILINE)
    importers = {
        file.parent.name if file.parent.name == home else file.stem
        for folder in ("terracyte", "stages")
        for file in (ROOT / folder).rglob("*.py")
        if pattern.search(file.read_text(encoding="utf-8"))
    }
    assert importers <= {home}


def test_every_changed_key_differs_from_its_reference() -> None:
    settings = params.load(ROOT / "params.yaml")
    for name, variant in settings.variants.items():
        for key, value in variant.values.items():
            assert settings.reference[variant.task][key] != value, f"variants.{name}.change.{key} changes nothing"


def test_declared_variants_have_scores_and_no_others() -> None:
    settings = params.load(ROOT / "params.yaml")
    for task in params.TASKS:
        scored = {file.stem for file in (ROOT / paths.scores(task, "x")).parent.glob("*.json")}
        assert scored == set(settings.variants_of(task))


def test_each_variant_has_one_row() -> None:
    settings = params.load(ROOT / "params.yaml")
    for task in params.TASKS:
        with (ROOT / paths.ablation_csv(task)).open(encoding="utf-8") as file:
            rows = [row["variant"] for row in csv.DictReader(file)]
        assert rows == list(settings.variants_of(task))


def test_the_lock_names_no_registry() -> None:
    assert "://" not in (ROOT / "requirements.lock").read_text(encoding="utf-8")


def test_make_alone_lists_every_target() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z]+):", text, re.MULTILINE)
    shown = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert all(f"make {target}" in shown.stdout for target in targets)
