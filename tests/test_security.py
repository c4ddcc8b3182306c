"""What SECURITY.md promises about the code as a whole, and that each of its promises names a test."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from terracyte.core import dvc
from tests.conftest import ROOT

CODE = [file for folder in ("terracyte", "stages", "benchmarks") for file in sorted((ROOT / folder).rglob("*.py"))]

# Benchmarks that compare with PyTorch, and load no file with it.
PEERS = [ROOT / "benchmarks/torch_network.py", ROOT / "benchmarks/training.py"]

# Its unpickler accepts tensors only, from files with a known hash: see tests/fetch/test_efficientnet_lite.py.
RESTRICTED = ROOT / "terracyte/fetch/torch_file.py"

UNPICKLERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "torch", "yaml"}
UNSAFE_CALLS = {"eval", "exec", "read_pickle", "unsafe_load", "enable_unsafe_deserialization"}
UNPACKERS = {"extract", "extractall", "unpack_archive"}  # they may write wherever an archive says
SAFE: dict[str, list[object]] = {"allow_pickle": [False], "safe_mode": [True], "typ": ["safe", "rt"]}


def faults(code: str) -> list[str]:
    """Return what in the code may execute the content of a file, or write where the file says."""
    return [fault for node in ast.walk(ast.parse(code)) for fault in _faults(node)]


def _faults(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name.split(".")[0] in {*UNPICKLERS, "tarfile"})
    elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in {*UNPICKLERS, "tarfile"}:
        yield str(node.module)
    elif isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in UNSAFE_CALLS | UNPACKERS:
            yield name
        for keyword in node.keywords:
            allowed = SAFE.get(keyword.arg or "")
            if allowed and not (isinstance(keyword.value, ast.Constant) and keyword.value.value in allowed):
                yield f"{keyword.arg}={ast.unparse(keyword.value)}"
        if ast.unparse(node.func).startswith("keras") and name == "load_model":
            yield from () if any(each.arg == "safe_mode" for each in node.keywords) else ("no safe_mode",)


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "import pickle as p",
        "from joblib import load",
        "import torch.serialization",
        "import yaml",
        "import tarfile",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=chosen)",
        "keras.saving.load_model(path, safe_mode=False)",
        "keras.saving.load_model(path)",
        "YAML(typ='unsafe').load(text)",
        "pd.read_pickle(path)",
        "eval(text)",
        "zipfile.ZipFile(path).extractall()",
        "shutil.unpack_archive(path)",
    ],
)
def test_what_is_forbidden_is_found(code: str) -> None:
    assert faults(code)


def test_no_code_runs_what_a_file_says_or_writes_where_it_says() -> None:
    found = {file: faults(file.read_text(encoding="utf-8")) for file in CODE}
    assert found.pop(RESTRICTED) == ["pickle"]
    for peer in PEERS:
        assert {fault.split(".")[0] for fault in found.pop(peer)} == {"torch"}
        assert "torch.load" not in peer.read_text(encoding="utf-8")
    assert {file.relative_to(ROOT).as_posix(): each for file, each in found.items() if each} == {}


def test_mlflow_is_told_not_to_unpickle() -> None:
    """The variable is set whichever module is imported first; servers and workers inherit it."""
    code = "import os, terracyte; print(os.environ['MLFLOW_ALLOW_PICKLE_DESERIALIZATION'])"
    unset = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    said = subprocess.run([sys.executable, "-c", code], env=unset, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "false"


def test_what_dvc_unpickles_lies_where_no_other_user_can_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_SITE_CACHE_DIR", raising=False)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    dvc.run("init", "--quiet", folder=tmp_path)
    folder = tmp_path / "experiment"
    folder.mkdir()
    (told,) = (line for line in dvc.run("version", folder=folder).splitlines() if "Repo.site_cache_dir" in line)
    place = tmp_path / ".dvc/tmp/site"
    assert Path(told.partition(": ")[2]).is_relative_to(place)
    assert place.stat().st_mode & 0o077 == 0
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", "elsewhere")
    assert dvc.environment(folder)["DVC_SITE_CACHE_DIR"] == "elsewhere"


def test_each_promise_names_tests_that_there_are() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    promises = re.findall(r"^\| (?!promise|-)[^|]+\|(.+)\|$", text, re.MULTILINE)
    assert promises
    for named in promises:
        tests = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", named)
        assert tests, named
        for file, name in tests:
            assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{name}"
