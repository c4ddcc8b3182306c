"""Values that a block of params.yaml leaves open are measured and recorded; values that it gives are kept."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from terracyte import params
from terracyte.clean import outliers
from terracyte.images.similarity.pairs import Pairs
from terracyte.measure import settings, thresholds
from terracyte.params.schema import build, left_open
from tests.conftest import ROOT, TASKS
from tests.pictures import BLOOD, MARS, blood_manifest, textures


def pairs(*rows: tuple[int, int, float]) -> Pairs:
    numbers = np.array([row[:2] for row in rows], np.int64).reshape(-1, 2)
    return Pairs(rows=numbers, correlation=np.array([row[2] for row in rows]), shift=np.zeros(len(rows)))


def empty(kind: type[params.Clean]) -> params.Clean:
    return build(kind, {}, "clean.blood")


def test_shares_of_classes_have_room_to_both_sides() -> None:
    rows = pd.DataFrame({"label": [0] * 6 + [1] * 3 + [2]})
    assert thresholds.class_share(BLOOD, rows) == params.Share(low=0.05, high=0.9)
    pixels = pd.DataFrame({"pixels_0": [100], "pixels_1": [300], "pixels_2": [100]})  # class 0 is background
    assert thresholds.class_share(MARS, pixels) == params.Share(low=0.1, high=0.9)


def test_equal_images_still_have_room() -> None:
    rows = pd.DataFrame({"brightness": [100.0] * 9, "contrast": [26.0] * 9})
    assert thresholds.brightness(rows) == (95, 106)
    assert thresholds.contrast_low(rows) == 20


def test_bounds_hold_for_images_that_were_not_seen_and_are_not_stretched_by_one_outlier() -> None:
    random = np.random.default_rng(0)
    values = pd.DataFrame({"brightness": random.normal(120, 15, 4000), "contrast": random.normal(40, 5, 4000)})
    seen, unseen = values[:2000].copy(), values[2000:]
    seen.loc[0] = [255, 0]
    low, high = thresholds.brightness(seen)
    assert unseen["brightness"].between(low, high).mean() > 0.995
    assert (unseen["contrast"] >= thresholds.contrast_low(seen)).mean() > 0.995
    assert high < 200
    assert thresholds.contrast_low(seen) > 15


def test_few_images_have_a_copy() -> None:
    assert thresholds.copies(100, pairs()) == 0.93
    assert thresholds.copies(100, pairs((0, 1, 0.97))) == 0.93  # two of 100 images have a partner
    assert thresholds.copies(100, pairs(*((2 * n, 2 * n + 1, 0.97) for n in range(10)))) == 0.97
    assert thresholds.copies(100, pairs(*((2 * n, 2 * n + 1, 1.0) for n in range(10)))) == 0.99


def test_no_group_becomes_large() -> None:
    chain = [(n, n + 1, 0.855) for n in range(50)]
    assert thresholds.group(1000, pairs()) == 0.75
    assert thresholds.group(1000, pairs(*chain[:19])) == 0.75  # a group of 20 of 1000 images is allowed
    assert thresholds.group(1000, pairs(*chain)) == 0.86


def test_copies_of_one_content_are_looked_at_once_and_large_sets_in_part() -> None:
    rows = pd.DataFrame({"id": range(6), "content_hash": list("aabbbc")})
    assert thresholds.chosen(rows)["id"].tolist() == [0, 2, 5]
    many = pd.DataFrame({"id": range(10_000), "content_hash": [str(number) for number in range(10_000)]})
    found = thresholds.chosen(many)["id"]
    assert (len(found), found.iloc[0], found.iloc[-1]) == (2000, 0, 9999)
    assert found.diff().max() <= 6


@pytest.mark.parametrize("task", TASKS)
def test_what_params_say_is_neither_measured_nor_recorded(task: str) -> None:
    """No pixel is read: the array of images is empty."""
    declared, nothing = params.load(ROOT), np.zeros((0, 8, 8, 3), np.uint8)
    rows = pd.DataFrame({"id": [], "content_hash": [], "keep": np.zeros(0, bool)})
    assert settings.expected(BLOOD, declared.validate[task], rows) == (declared.validate[task], {})
    assert settings.cleaning(declared.clean[task], nothing, rows) == (declared.clean[task], {})
    assert settings.splitting(declared.balance[task], nothing, rows) == (declared.balance[task], {})


def test_what_is_left_out_is_measured_and_recorded() -> None:
    images = textures(BLOOD, 40)
    rows = blood_manifest(images, [0, 1, 1, 2] * 10).assign(keep=True)
    partly = dataclasses.replace(empty(params.Clean), distance=0.7)
    assert left_open(partly) == ["near_duplicate_correlation"]
    found, record = settings.cleaning(partly, images, rows)
    assert (found.distance, found.near_duplicate_correlation) == (0.7, 0.93)
    assert record == {"measured": {"near_duplicate_correlation": 0.93}}
    bounds, record = settings.expected(BLOOD, build(params.Validate, {}, ""), rows)
    assert bounds.class_share == params.Share(low=0.125, high=0.75)
    assert record["measured"]["class_share"] == {"low": 0.125, "high": 0.75}
    assert rows["brightness"].between(*bounds.brightness).all()
    split, record = settings.splitting(build(params.Balance, {}, ""), images, rows)
    assert record == {"measured": {"group_correlation": split.group_correlation}} == {
        "measured": {"group_correlation": 0.75}
    }  # fmt: skip


def test_both_images_of_a_pair_have_a_partner() -> None:
    assert thresholds.copies(100, pairs((0, 1, 0.97), (2, 3, 0.97))) == 0.97  # four of 100 images


@pytest.mark.parametrize(("most", "expected"), [(0.1, 0.4), (0.5, 0.64), (0.9, 0.95)])
def test_one_image_of_a_hundred_may_be_nearly_off_the_distribution(
    most: float, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thresholds, "isolation", lambda *_: np.linspace(0, most, 101))
    images = textures(BLOOD, 2)
    assert thresholds.distance(images, blood_manifest(images, [0, 1])) == expected


def test_exact_copies_and_dropped_images_are_not_measured() -> None:
    images = textures(BLOOD, 40)
    images[20:] = images[:20]
    rows = blood_manifest(images, [0, 1, 1, 2] * 10)
    assert settings.cleaning(empty(params.Clean), images, rows)[0].near_duplicate_correlation == 0.93
    images[21:] = np.clip(images[20] + np.arange(19)[:, None, None, None], 0, 255)  # these correlate almost perfectly
    rows = blood_manifest(images, [0, 1, 1, 2] * 10)
    found = [
        settings.splitting(build(params.Balance, {}, ""), images, rows.assign(keep=kept))[0].group_correlation
        for kept in (rows["id"] < 21, True)
    ]
    assert found[0] == 0.75 < found[1]


def test_measured_bounds_are_within_what_can_be() -> None:
    assert thresholds.class_share(BLOOD, pd.DataFrame({"label": [0] * 8 + [1, 2]})) == params.Share(low=0.05, high=1)
    assert thresholds.brightness(pd.DataFrame({"brightness": [2.0] * 9})) == (0, 8)
    assert thresholds.brightness(pd.DataFrame({"brightness": [253.0] * 9})) == (248, 255)


def test_groups_that_no_correlation_divides_have_the_highest() -> None:
    assert thresholds.group(1000, pairs(*((n, n + 1, 1.0) for n in range(50)))) == 0.99


def test_pairs_are_measured_with_the_declared_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def similar_pairs(_images: object, _rows: object, bits: int, correlation: float) -> Pairs:
        asked.append((bits, correlation))
        return pairs()

    monkeypatch.setattr(thresholds, "similar_pairs", similar_pairs)
    images = textures(BLOOD, 4)
    rows = blood_manifest(images, [0, 1, 1, 2]).assign(keep=True)
    settings.cleaning(dataclasses.replace(empty(params.Clean), near_duplicate_bits=3, distance=0.5), images, rows)
    settings.splitting(build(params.Balance, {"group_bits": 5}, "balance.blood"), images, rows)
    assert asked == [(3, 0.75), (5, 0.75)]


def test_the_distance_is_measured_as_cleaning_measures_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the rows' own images, to the third nearest."""
    asked = []

    def isolation(shares: object, channels: int, neighbours: int) -> object:
        asked.append((shares, channels, neighbours))
        return np.zeros(3)

    monkeypatch.setattr(thresholds, "histograms", lambda _, ids: ids.tolist())
    monkeypatch.setattr(thresholds, "isolation", isolation)
    images = textures(BLOOD, 9)
    thresholds.distance(images, blood_manifest(images, [0] * 9).iloc[[2, 5, 8]])
    assert asked == [([2, 5, 8], 3, outliers._ALIKE_ODDITIES + 1)]
