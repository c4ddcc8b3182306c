"""docs/own-data.md as a reader follows it: its code and its four commands, word for word, on real digits.

Minutes: `pytest -m slow tests/new/test_story.py`.
"""

import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pandas as pd
import pytest
from sklearn.datasets import load_digits

from terracyte.core import paths
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs/own-data.md").read_text(encoding="utf-8")


def environment(project: Path) -> dict[str, str]:
    scripts = Path(sys.executable).parent
    return {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}", "PYTHONPATH": str(project), "MAKEFLAGS": ""}


def run(command: list[str], project: Path) -> None:
    done = subprocess.run(command, cwd=project, env=environment(project), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_four_commands_lead_from_pictures_to_a_page(tmp_path: Path) -> None:
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(tmp_path / "project")], check=True)
    project = tmp_path / "project"
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    new, repro, predict, serve = re.findall(r"```\n(terracyte new digits.*?)```", PAGE, re.S)[0].strip().split("\n")
    # the environment is there already
    without_setup = repro.replace("make ", "make --assume-old=.venv/installed ")
    for command in ([sys.executable, "-c", code], new.split(), without_setup.split(), predict.split()):
        run(command, project)

    table = pd.read_csv(project / "digits" / paths.ablation_csv("digits"))
    assert len(table) == 5
    assert table["accuracy"].max() >= 0.97
    assert (project / "digits/data/report/digits.html").exists()
    sevens = pd.read_csv(project / "sevens.csv")
    assert len(sevens) == (load_digits().target == 7).sum()
    assert (sevens["class"].astype(str) == "7").mean() >= 0.97

    with subprocess.Popen(
        [*serve.split(), "--port", "0"], cwd=project, env=environment(project), stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            address = next(found[0] for line in server.stdout if (found := re.findall(r"http://\S+", line)))
            with urllib.request.urlopen(f"{address}/about") as answer:
                assert "digits" in answer.read().decode()
        finally:
            server.terminate()
