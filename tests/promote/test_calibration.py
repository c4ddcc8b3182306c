"""Temperature scaling: closed forms, and calibrated probabilities of champions."""

from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from terracyte import params, tasks
from terracyte.core import files, paths
from terracyte.core.errors import InputError
from terracyte.models import ensemble
from terracyte.models.serialization import write_model
from terracyte.promote import calibration
from terracyte.train.batches import read_rows
from tests.conftest import TASKS
from tests.pictures import classification, segmentation

DRAWS = 20_000


def calibrated(seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return logits, and true classes drawn from the probabilities that these logits give."""
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


def test_each_network_with_folds_speaks_for_what_it_held_out(champions: Path, tmp_path: Path) -> None:
    task = tasks.make("blood", params.load())
    rows = read_rows(task, "validation")
    networks = []
    for sure in (1.0, 3.0):
        images = keras.Input(task.image_shape)
        bias = [sure, *[0.0] * (len(task.classes) - 1)]
        head = keras.layers.Dense(len(bias), kernel_initializer="zeros")
        networks.append(keras.Model(images, head(keras.layers.Flatten()(images))))
        head.set_weights([head.get_weights()[0], np.array(bias)])
    write_model(tmp_path / "model.keras", ensemble.averaged(networks))
    calibration.write(task, tmp_path / "model.keras", tmp_path / "calibration.json", [1, 0])
    logits = np.zeros((len(rows), len(task.classes)))
    logits[:, 0] = np.where(rows.manifest["fold"] == 1, 1.0, 3.0)
    found = files.read_json(tmp_path / "calibration.json")
    assert found == {"split": "validation", **calibration.measure(logits, rows.targets.astype(np.int64))}


def test_masks_are_drawn_from_and_background_is_left_out(champions: Path) -> None:
    scored = files.read_json(paths.champion("mars") / "calibration.json")["scored"]
    assert 0 < scored < 4 * 512  # 512 pixels are drawn from each of four images; about a quarter is background
    assert files.read_json(paths.champion("blood") / "calibration.json")["scored"] == 4


def test_probabilities_are_those_of_divided_logits() -> None:
    task = classification(("a", "b"), (32, 32, 3))
    for temperature in (0.5, 2.0):
        found = calibration.probabilities(task, np.array([[3.0, 1.0]]), temperature)
        assert found[0, 0] == pytest.approx(1 / (1 + np.exp(-2 / temperature)))


def test_a_validation_split_without_a_scored_class_is_one_line(champions: Path) -> None:
    masks = np.load(paths.masks("mars"))
    np.save(paths.masks("mars"), np.zeros_like(masks))
    folder = paths.champion("mars")
    with pytest.raises(InputError, match=r"no validation image that .*model\.keras has not seen shows a scored class"):
        calibration.write(tasks.make("mars", params.load()), folder / "model.keras", folder / "calibration.json")


def test_places_of_true_classes_are_counted_among_the_scored_ones(
    champions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, folder = tasks.make("mars", params.load()), paths.champion("mars")
    seen: list[NDArray[np.int64]] = []

    def measure(_: NDArray[np.float64], truth: NDArray[np.int64]) -> dict[str, float]:
        seen.append(truth)
        return {"temperature": 1.0}

    monkeypatch.setattr(calibration, "measure", measure)
    masks, rows = np.load(paths.masks("mars")), read_rows(task, "validation")
    np.save(paths.masks("mars"), np.full_like(masks, 2))
    calibration.write(task, folder / "model.keras", folder / "calibration.json")
    (truth,) = seen
    assert len(truth) == 512 * len(rows)
    assert set(truth) == {task.scored_classes.index(2)}
