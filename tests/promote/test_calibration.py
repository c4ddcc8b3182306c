"""Temperature scaling: closed forms, and calibrated probabilities of champions."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from terracyte import params, tasks
from terracyte.core import files, paths
from terracyte.promote import calibration
from tests.conftest import TASKS
from tests.pictures import segmentation

DRAWS = 20_000


def calibrated(seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits, and truths drawn from the very probabilities that they state."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(0, 2, (DRAWS, 4))
    truth = (logits + draw.gumbel(size=logits.shape)).argmax(axis=1)  # Gumbel's trick draws from the softmax
    return logits, truth.astype(np.int64)


@pytest.mark.parametrize("factor", [0.3, 1.0, 2.5])
def test_finds_the_factor_by_which_logits_exaggerate(factor: float) -> None:
    logits, truth = calibrated()
    assert calibration.fit(factor * logits, truth) == pytest.approx(factor, rel=0.03)


def test_brings_confidence_and_accuracy_together() -> None:
    logits, truth = calibrated()
    found = calibration.measure(3 * logits, truth)
    error, loss = found["expected_calibration_error"], found["negative_log_likelihood"]
    assert error["before"] > 0.1 > 0.02 > error["after"]
    assert loss["after"] < loss["before"]
    assert found["scored"] == DRAWS


def test_one_image_says_how_sure_to_be() -> None:
    """Two classes, right in three of four images, logits 0 and 1: T solves 1 / (1 + exp(-1 / T)) = 3/4."""
    logits = np.array([[0.0, 1.0]] * 4)
    assert calibration.fit(logits, np.array([1, 1, 1, 0])) == pytest.approx(1 / np.log(3), rel=1e-3)


def test_a_network_without_an_error_stays_finite() -> None:
    logits = np.eye(3) * 5
    assert calibration.fit(logits, np.arange(3)) == pytest.approx(1 / 20, rel=1e-3)


def test_a_worthless_network_becomes_humble() -> None:
    logits = np.array([[4.0, 0.0], [4.0, 0.0]])
    temperature = calibration.fit(logits, np.array([0, 1]))
    assert temperature == pytest.approx(20, rel=1e-3)


def test_background_has_no_probability() -> None:
    task = segmentation(("background", "soil", "rock"), (32, 32, 1))
    logits = np.array([[[[9.0, 1.0, 1.0]]]], np.float32)
    assert calibration.probabilities(task, logits, 2.0) == pytest.approx(np.full((1, 1, 1, 2), 0.5))


@pytest.mark.parametrize("name", TASKS)
def test_a_champions_file_repeats_byte_for_byte(champions: Path, name: str) -> None:
    task, folder = tasks.make(name, params.load()), paths.champion(name)
    before = (folder / "calibration.json").read_bytes()
    calibration.write(task, folder / "model.keras", folder / "calibration.json")
    assert (folder / "calibration.json").read_bytes() == before
    assert files.read_json(folder / "calibration.json")["split"] == "validation"


def test_masks_are_drawn_from_and_background_is_left_out(champions: Path) -> None:
    scored = files.read_json(paths.champion("mars") / "calibration.json")["scored"]
    assert 0 < scored < 4 * 512  # four validation images, a quarter of whose blocks are background
    assert files.read_json(paths.champion("blood") / "calibration.json")["scored"] == 4
