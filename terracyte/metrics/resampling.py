"""Uncertainty of scores, by drawing anew what was measured on groups of test images.

Neighbouring frames and near duplicates aren't independent: groups, not images, are what is drawn.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np

from terracyte.metrics.confusion import Counts, Scores

# Maps (..., k, k) confusion matrices to (...) scores, or (..., parts, k, k) to (...).
Score = Callable[[Counts], Scores]

# Resamples held in memory at once.
_CHUNK = 500
# Differences that are equal but for the order of their sums.
_NOISE = 1e-12


def bootstrap(confusions: Counts, score: Score, resamples: int, seed: int) -> Scores:
    """Resample a score over training seeds and over groups of test images.

    Both are drawn with replacement, and each resample's score is the mean over the drawn seeds. Equal `seed`,
    number of seeds and number of groups give equal draws: the difference of two calls is a paired comparison.

    Args:
        confusions: (seeds, groups, k, k), see `metrics.grouped_confusions`; or (seeds, groups, parts, k, k), where
            the score is of several parts together.
        score: what to resample.
        resamples: how many.
        seed: of the resampling.

    Returns:
        (resamples,) scores.
    """
    seeds, groups, *cells = confusions.shape
    random = np.random.default_rng(seed)
    flat = _flat(confusions)
    drawn = []
    for size in _chunks(resamples):
        counts = random.multinomial(groups, np.full(groups, 1 / groups), size)
        weights = random.multinomial(seeds, np.full(seeds, 1 / seeds), size) / seeds
        totals = (counts @ flat).astype(np.int64).reshape(size, seeds, *cells)
        drawn.append((score(totals) * weights).sum(axis=1))
    return np.concatenate(drawn)


def alike(one: Counts, other: Counts) -> tuple[Counts, Counts]:
    """Two variants with as many seeds each, so that they can be compared in pairs.

    Seeds are repeated up to the smallest common number, and each of one variant meets each of the other equally
    often where their numbers have no common divisor. No mean over the seeds changes.

    Args:
        one, other: as in `bootstrap`; the numbers of seeds may differ.
    """
    seeds = math.lcm(len(one), len(other))
    return np.concatenate([one] * (seeds // len(one))), np.repeat(other, seeds // len(other), axis=0)


def interval(resampled: Scores, confidence: float) -> tuple[float, float]:
    """The percentile interval that holds the share `confidence` of the resampled scores."""
    low, high = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def permutation_test(one: Counts, other: Counts, score: Score, resamples: int, seed: int) -> float:
    """How often chance alone makes two variants differ as much as they do: a paired, two-sided permutation test.

    If the variants were alike, it would not matter which of them a group's predictions came from: each
    resample swaps the two variants' matrices of a random half of the groups, those of all training seeds
    together. The observed difference of the mean scores over the seeds counts as one resample, so that no p
    is 0 (Phipson and Smyth 2010, arXiv 1603.05766).

    Args:
        one, other: as in `bootstrap`; of the same groups, and with as many seeds each; see `alike`.
        score: what is compared.
        resamples: how many.
        seed: of the swaps.

    Returns:
        p, in (0, 1]; 1 for equal variants.
    """
    seeds, groups, *cells = one.shape
    random = np.random.default_rng(seed)
    change = _flat(other - one)
    total, other_total = one.sum(axis=1), other.sum(axis=1)
    observed = abs(float((score(total) - score(other_total)).mean()))
    extreme = 0
    for size in _chunks(resamples):
        swapped = random.integers(0, 2, (size, groups)) @ change
        moved = swapped.astype(np.int64).reshape(size, seeds, *cells)
        differences = (score(total + moved) - score(other_total - moved)).mean(axis=1)
        extreme += int((np.abs(differences) >= observed - _NOISE).sum())
    return (extreme + 1) / (resamples + 1)


def _flat(confusions: Counts) -> Scores:
    """(seeds, groups, ...) → (groups, all else); floats hold counts exactly and are multiplied much faster."""
    return confusions.swapaxes(0, 1).reshape(confusions.shape[1], -1).astype(np.float64)


def _chunks(resamples: int) -> Iterator[int]:
    """Sizes that add up to `resamples`."""
    for start in range(0, resamples, _CHUNK):
        yield min(_CHUNK, resamples - start)
