"""Intervals and the paired test: closed forms where the groups are few enough, and statistical properties."""

import itertools

import numpy as np
import pytest

from terracyte.metrics import confusion, resampling

RIGHT, WRONG = np.diag([4, 4]), np.array([[0, 4], [4, 0]])


def test_bootstrap_is_seeded_and_brackets_the_score() -> None:
    random = np.random.default_rng(2)
    confusions = random.integers(0, 9, (2, 40, 3, 3)) + 9 * np.eye(3, dtype=np.int64)
    drawn = resampling.bootstrap(confusions, confusion.accuracy, 700, seed=5)
    np.testing.assert_array_equal(drawn, resampling.bootstrap(confusions, confusion.accuracy, 700, seed=5))
    assert (drawn != resampling.bootstrap(confusions, confusion.accuracy, 700, seed=6)).any()
    low, high = resampling.interval(drawn, 0.95)
    assert low < float(confusion.accuracy(confusions.sum(axis=(0, 1)))) < high
    assert resampling.interval(drawn, 0.5)[0] > low


def test_bootstrap_draws_groups_and_seeds() -> None:
    # Two groups, one all right and one all wrong: the resamples are 0, 1/2 and 1 in the ratio 1 : 2 : 1.
    of_groups = resampling.bootstrap(np.array([[RIGHT, WRONG]]), confusion.accuracy, 2000, seed=0)
    values, counts = np.unique(of_groups, return_counts=True)
    np.testing.assert_array_equal(values, [0, 0.5, 1])
    np.testing.assert_allclose(counts / 2000, [0.25, 0.5, 0.25], atol=0.05)
    # The same with two training seeds and one group each.
    of_seeds = resampling.bootstrap(np.array([[RIGHT], [WRONG]]), confusion.accuracy, 2000, seed=0)
    np.testing.assert_array_equal(np.unique(of_seeds), [0, 0.5, 1])


def test_parts_are_drawn_together() -> None:
    """A drawn group brings its clean images and their copies under shift; the score is the mean of both."""
    clean, copies = np.random.default_rng(4).integers(0, 9, (2, 2, 30, 3, 3))
    other = np.random.default_rng(5).integers(0, 9, (2, 30, 2, 3, 3))
    both = np.stack([clean, copies], axis=2)

    def mean(counts: confusion.Counts) -> confusion.Scores:
        return np.asarray(confusion.macro_f1(counts).mean(axis=-1))

    drawn = [resampling.bootstrap(part, confusion.macro_f1, 600, seed=1) for part in (clean, copies)]
    np.testing.assert_allclose(resampling.bootstrap(both, mean, 600, seed=1), np.mean(drawn, axis=0))
    assert resampling.permutation_test(both, both, mean, 99, seed=0) == 1
    twice = [np.stack([counts[:, :, 0]] * 2, axis=2) for counts in (both, other)]
    once = [counts[:, :, 0] for counts in (both, other)]
    p = resampling.permutation_test(once[0], once[1], confusion.macro_f1, 99, seed=0)
    assert resampling.permutation_test(twice[0], twice[1], mean, 99, seed=0) == p


def test_a_clear_difference_on_many_groups_has_the_smallest_p_there_is() -> None:
    one, other = np.array([[RIGHT] * 30]), np.array([[WRONG] * 30])
    p = resampling.permutation_test(one, other, confusion.accuracy, 999, seed=0)
    assert p == 1 / 1000
    assert resampling.permutation_test(other, one, confusion.accuracy, 999, seed=0) == p


def test_two_opposite_groups_tell_nothing() -> None:
    # Swapping neither or both keeps the difference of 1; swapping one makes it 0.
    one, other = np.array([[RIGHT] * 2]), np.array([[WRONG] * 2])
    p = resampling.permutation_test(one, other, confusion.accuracy, 8000, seed=1)
    assert p == pytest.approx(1 / 2, abs=0.02)


@pytest.mark.parametrize("score", [confusion.accuracy, confusion.macro_f1])
def test_p_is_the_share_of_all_swaps_that_differ_as_much(score: resampling.Score) -> None:
    random = np.random.default_rng(5)
    one, other = (
        random.integers(0, 9, (2, 2, 3, 4, 4)) + np.eye(4, dtype=np.int64) * np.array([4, 1])[:, None, None, None, None]
    )

    def difference(swaps: tuple[bool, ...]) -> float:
        swapped = np.array(swaps)[None, :, None, None]
        first, second = np.where(swapped, other, one), np.where(swapped, one, other)
        return abs(float((score(first.sum(axis=1)) - score(second.sum(axis=1))).mean()))

    observed = difference((False,) * 3)
    exact = np.mean([difference(swaps) >= observed - 1e-9 for swaps in itertools.product((False, True), repeat=3)])
    assert resampling.permutation_test(one, other, score, 8000, seed=2) == pytest.approx(exact, abs=0.02)


def test_p_is_about_uniform_where_there_is_no_difference() -> None:
    random = np.random.default_rng(6)
    drawn = random.integers(0, 9, (200, 2, 1, 12, 2, 2))
    p = [resampling.permutation_test(one, other, confusion.accuracy, 99, seed=3) for one, other in drawn]
    assert np.mean(np.array(p) <= 0.1) == pytest.approx(0.1, abs=0.06)
    assert np.mean(p) == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize(("seeds", "others"), [(1, 3), (3, 1), (2, 3), (2, 2)])
def test_variants_of_different_numbers_of_seeds_are_compared(seeds: int, others: int) -> None:
    random = np.random.default_rng(6)
    one, other = (random.integers(1, 9, (count, 20, 3, 3)) for count in (seeds, others))
    pair = resampling.alike(one, other)
    assert pair[0].shape == pair[1].shape
    for before, after in zip((one, other), pair, strict=True):
        means = [confusion.accuracy(counts.sum(axis=1)).mean() for counts in (before, after)]
        assert means[0] == pytest.approx(means[1])
    ids = [[seed.tobytes() for seed in side] for side in pair]
    assert len(set(zip(*ids, strict=True))) == (seeds if seeds == others else seeds * others)
    p = resampling.permutation_test(*pair, confusion.accuracy, 200, seed=0)
    assert p == resampling.permutation_test(*resampling.alike(other, one), confusion.accuracy, 200, seed=0)
    assert 0 < p <= 1


def test_an_interval_holds_its_share_of_the_draws() -> None:
    drawn = np.arange(1001) / 1000
    assert resampling.interval(drawn, 0.95) == pytest.approx((0.025, 0.975))
    assert resampling.interval(drawn, 0.5) == pytest.approx((0.25, 0.75))


def test_every_resample_is_a_new_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = np.random.default_rng(1).integers(0, 99, (2, 2, 40, 3, 3))
    drawn = resampling.bootstrap(one, confusion.accuracy, 3 * resampling._CHUNK, seed=0)
    assert len(np.unique(drawn)) > 2 * resampling._CHUNK
    p = resampling.permutation_test(one, other, confusion.accuracy, 900, seed=0)
    monkeypatch.setattr(resampling, "_CHUNK", 100)
    assert resampling.permutation_test(one, other, confusion.accuracy, 900, seed=0) == p
