"""The docs' picture of the sample can be regenerated."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from ruamel.yaml import YAML

from benchmarks import sheet
from terracyte import params
from tests.conftest import ROOT


def shrink(file: str) -> None:
    """Change a recipe so that it makes only a few pictures, without planted defects."""
    yaml, path = YAML(), Path("data/sources") / file
    recipe = yaml.load(path)
    recipe["planted"] = dict.fromkeys(recipe["planted"], 0)
    if "cells" in recipe:
        recipe["cells"] = dict.fromkeys(recipe["cells"], 3)
    else:
        recipe |= {"views": 5, "drives": 0}
    yaml.dump(recipe, path)


def pixels(path: Path) -> NDArray[np.int16]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"), np.int16)


def test_the_picture_shows_cells_and_terrain(project: Path) -> None:
    shrink("blood_sample.yaml")
    shrink("mars_sample.yaml")
    sheet.write(params.load(), project / "sample.png")
    made = pixels(project / "sample.png")
    assert made.shape == pixels(ROOT / sheet.PATH).shape
    cells, strips = made[40:300].mean(axis=(0, 1)), made[340:410].mean(axis=(0, 1))
    assert cells[0] > cells[2] + 10  # a cream slide is more red than blue
    assert np.ptp(strips) < 8  # NavCam is grey
