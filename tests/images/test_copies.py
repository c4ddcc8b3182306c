"""The test and validation copies under shift: dealt evenly, reproducible, and independent of each other."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from terracyte.images.shift import copies
from terracyte.images.shift.corruptions import CORRUPTIONS
from tests.conftest import ROOT

NAMES = list(CORRUPTIONS)


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (200, 16, 16, 3), np.uint8)


def test_each_severity_of_each_corruption_gets_a_fifth_of_the_images() -> None:
    severities = copies.test_severities(1003, 11)
    assert severities.shape == (1003, 11)
    for column in severities.T:
        assert set(np.bincount(column, minlength=6)[1:]) == {200, 201}
    # each corruption deals its severities anew
    assert len({column.tobytes() for column in severities.T}) == 11


def test_severities_do_not_follow_the_order_of_the_images() -> None:
    correlation = np.corrcoef(np.arange(1000), copies.test_severities(1000, 1)[:, 0])[0, 1]
    assert abs(correlation) < 0.1


@pytest.mark.parametrize("name", NAMES)
def test_the_test_copy_is_the_same_however_it_is_split(images: NDArray[np.uint8], name: str) -> None:
    ids, severities = np.arange(0, 20), copies.test_severities(20, 1)[:, 0]
    whole = copies.test_copy(images, ids, name, severities)
    order = np.random.default_rng(1).permutation(20)
    parts = [copies.test_copy(images, ids[part], name, severities[part]) for part in np.split(order, [3, 4])]
    np.testing.assert_array_equal(np.concatenate(parts), whole[order])
    assert (whole != images[:20]).any()


def test_images_are_damaged_independently() -> None:
    grey = np.full((2, 16, 16, 3), 128, np.uint8)
    one, other = copies.test_copy(grey, np.arange(2), "noise", np.array([3, 3]))
    assert (one != other).mean() > 0.9


def test_the_validation_copy_follows_the_ids(images: NDArray[np.uint8]) -> None:
    ids = np.arange(150, 20, -1)
    copy = copies.validation_copy(images, ids, NAMES)
    assert copy.shape == (130, 16, 16, 3)
    assert copy.dtype == np.uint8
    np.testing.assert_array_equal(copy, copies.validation_copy(images, ids, NAMES))
    assert np.mean([(shown != images[place]).any() for shown, place in zip(copy, ids, strict=True)]) > 0.95


@pytest.mark.parametrize("chosen", [1, 3])
def test_the_validation_copy_deals_the_named_corruptions_and_severities_evenly(
    images: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch, chosen: int
) -> None:
    dealt: list[tuple[str, float]] = []

    def remember(
        image: NDArray[np.uint8], name: str, severity: float, random: np.random.Generator, stand_in: bool
    ) -> NDArray[np.uint8]:
        assert stand_in
        dealt.append((name, severity))
        return image

    monkeypatch.setattr(copies, "corrupt", remember)
    names = NAMES[::chosen]
    copies.validation_copy(images, np.arange(8 * len(names)), names)
    assert {dealt.count(pair) for pair in dealt} == {2}
    assert {name for name, _ in dealt} == set(names)
    # none of them is a severity of the test copy
    assert {severity for _, severity in dealt} == {1.5, 2.5, 3.5, 4.5}


def test_only_predictions_read_the_test_copy() -> None:
    readers = {
        file.name
        for folder in ("terracyte", "stages")
        for file in (ROOT / folder).rglob("*.py")
        if "test_copy" in file.read_text(encoding="utf-8")
    }
    assert readers == {"copies.py", "predictions.py"}


def test_the_copies_share_no_random_number(monkeypatch: pytest.MonkeyPatch) -> None:
    states: list[Any] = []

    def remember(image: Any, name: str, severity: float, random: np.random.Generator, stand_in: bool = False) -> Any:
        states.append(random.bit_generator.state["state"]["state"])
        return image

    monkeypatch.setattr(copies, "corrupt", remember)
    images, ids = np.zeros((12, 4, 4, 3), np.uint8), np.arange(12)
    copies.validation_copy(images, ids, ["noise"])
    copies.test_copy(images, ids, "noise", np.full(12, 3))
    assert len(set(states)) == 24


def test_the_damage_of_an_image_follows_its_id_not_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    states: dict[int, Any] = {}

    def remember(image: Any, name: str, severity: float, random: np.random.Generator, stand_in: bool = False) -> Any:
        state = random.bit_generator.state["state"]["state"]
        assert states.setdefault(int(image[0, 0, 0]), state) == state
        return image

    monkeypatch.setattr(copies, "corrupt", remember)
    images = np.arange(8, dtype=np.uint8)[:, None, None, None].repeat(3, axis=3)
    for ids in ([3, 5, 7], [7, 5, 3], [5]):
        copies.validation_copy(images, np.array(ids), ["noise"])
    assert len(states) == 3
