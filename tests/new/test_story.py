"""From pictures to a page: the code and four commands of docs/own-data.md, verbatim, on real digits; and drawn masks.

Takes minutes: `pytest -m slow tests/new/test_story.py`.
"""

import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
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


@pytest.fixture
def project(tmp_path: Path) -> Path:
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(tmp_path / "project")], check=True)
    return tmp_path / "project"


def without_setup(command: str) -> list[str]:
    """Return the words of a command, in which `make` takes the environment as installed."""
    return command.replace("make ", "make --assume-old=.venv/installed ").split()


def draw(folder: Path, number: int, edge: int = 64) -> None:
    """Write a noisy picture of discs and squares, of random brightness, and its mask in three colours."""
    chance = np.random.default_rng(number)
    rows, columns = np.mgrid[:edge, :edge]
    classes = np.zeros((edge, edge), np.uint8)
    for _ in range(chance.integers(2, 6)):
        kind, size, (row, column) = chance.integers(1, 3), chance.integers(6, 14), chance.integers(0, edge, 2)
        away = np.abs(rows - row), np.abs(columns - column)
        classes[np.hypot(*away) <= size if kind == 1 else np.maximum(*away) <= size] = kind
    tones = chance.normal([[90, 110, 80], [150, 90, 90], [100, 100, 150]], 12)
    pixels = chance.uniform(0.7, 1.2) * (tones[classes] + chance.normal(0, 20, (edge, edge, 3)))
    colours = np.array([(0, 0, 0), (220, 20, 60), (0, 130, 180)], np.uint8)[classes]
    for part, image in (("images", np.clip(pixels, 0, 255).astype(np.uint8)), ("masks", colours)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / part / f"{number}.png")


def test_masks_of_colours_are_learned(project: Path) -> None:
    for number in range(240):
        draw(project / "pictures", number)
    for command in ("terracyte new shapes pictures", "make repro EXPERIMENT=shapes"):
        run(without_setup(command), project)
    table = pd.read_csv(project / "shapes" / paths.ablation_csv("shapes"))
    assert table["mean_iou"].max() >= 0.9


def test_four_commands_lead_from_pictures_to_a_page(project: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    new, repro, predict, serve = re.findall(r"```\n(terracyte new digits.*?)```", PAGE, re.S)[0].strip().split("\n")
    for command in ([sys.executable, "-c", code], new.split(), without_setup(repro), predict.split()):
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
