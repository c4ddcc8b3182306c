"""All pairs of 64-bit hashes that differ in few bits, exactly, without comparing each hash with each other.

Multi-index hashing (arXiv 1307.2982) as a join: hashes within b bits of one another differ in at most b // m bits of
one of m parts (pigeonhole). So for each part, hashes are sorted by its value, and each group of equal values is
compared with the groups whose value differs in few bits. With 16 bits per part and b = 11 that is one comparison in
240.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terracyte import compute

_BITS = 64
_TASK = 40  # masks per part of the work: the hashes are sorted anew for each
_CHUNK = 2**16  # comparisons at a time, whose arrays fit a core's cache: half the time of 2**20
_ROWS = 20_000  # of the exhaustive search at a time

# Seconds on one core of 2.5 GHz: they only decide which algorithm is used.
_EXHAUSTIVE_COMPARISON, _COMPARISON, _ROW, _MASK = 6e-10, 5e-9, 2e-8, 5e-5


@dataclasses.dataclass(frozen=True)
class _JoinTask:
    """A part of the work: pairs of hashes whose `width` bits from `shift` on differ by exactly one of `masks`."""

    shift: int
    width: int
    masks: tuple[int, ...]


def hash_pairs(hashes: NDArray[np.uint64], bits: int) -> NDArray[np.int64]:
    """(n,) hashes → (p, 2) pairs of rows, the lower first, whose hashes differ in at most `bits` bits."""
    parts = _best_parts(len(hashes), bits)
    if parts is None:
        starts = range(0, len(hashes), _ROWS)
        found = list(compute.parallel_map(_compare_rows, starts, hashes, bits))
    else:
        found = list(compute.parallel_map(_join, _tasks(parts, bits), hashes, bits))
    pairs = np.sort(np.concatenate([np.empty((0, 2), np.int64), *found]), axis=1)
    # a pair may be found by several of its parts; one number per pair sorts faster than two
    numbers = np.unique(pairs[:, 0] * len(hashes) + pairs[:, 1])
    return np.stack(np.divmod(numbers, max(len(hashes), 1)), axis=1)


def _best_parts(n: int, bits: int) -> int | None:
    """Into how many parts to divide hashes; None where it costs least to compare all with all."""
    costs = {parts: _seconds(n, bits, parts) for parts in range(3, 9) if _BITS // parts > bits // parts}
    parts = min(costs, key=lambda parts: costs[parts])
    return parts if costs[parts] < n * n * _EXHAUSTIVE_COMPARISON else None


def _seconds(n: int, bits: int, parts: int) -> float:
    """About how many seconds `_join` takes for all parts."""
    width = _BITS // parts
    masks = parts * sum(math.comb(width, flips) for flips in range(bits // parts + 1))
    return float(masks * (_MASK + n * _ROW + n * n / 2**width / 2 * _COMPARISON))


def _tasks(parts: int, bits: int) -> Iterator[_JoinTask]:
    edges = [_BITS * part // parts for part in range(parts + 1)]
    for start, end in itertools.pairwise(edges):
        places = [
            places for flips in range(bits // parts + 1) for places in itertools.combinations(range(end - start), flips)
        ]
        masks = [sum(1 << place for place in each) for each in places]
        for first in range(0, len(masks), _TASK):
            yield _JoinTask(start, end - start, tuple(masks[first : first + _TASK]))


def _compare_rows(start: int, hashes: NDArray[np.uint64], bits: int) -> NDArray[np.int64]:
    """The pairs of some rows with all rows, by faiss."""
    import faiss

    codes = np.ascontiguousarray(hashes[:, None].astype(">u8").view(np.uint8))
    index: Any = faiss.IndexBinaryFlat(_BITS)
    index.add(codes)
    limits, _, found = index.range_search(codes[start : start + _ROWS], bits + 1)
    left = start + np.repeat(np.arange(len(limits) - 1), np.diff(limits.astype(np.int64)))
    pairs = np.stack([left, found], axis=1)
    return np.asarray(pairs[pairs[:, 0] < pairs[:, 1]])


def _join(part: _JoinTask, hashes: NDArray[np.uint64], bits: int) -> NDArray[np.int64]:
    """The pairs that one part of the work finds."""
    # 32 bits per number: half the memory to go through
    values = ((hashes >> np.uint64(part.shift)) & np.uint64((1 << part.width) - 1)).astype(np.int32)
    order = np.argsort(values, kind="stable")
    sorted_hashes, sorted_values = hashes[order], values[order]
    limits = np.searchsorted(sorted_values, np.arange((1 << part.width) + 1, dtype=np.int32)).astype(np.int32)
    following = np.arange(1, len(hashes) + 1, dtype=np.int32)
    found = []
    for mask in part.masks:
        # each group with the one that `mask` leads to, once; with itself, each row with the rows after it
        others = sorted_values ^ np.int32(mask)
        first = np.maximum(limits[others], following)
        found.append(order[_pairs_within(sorted_hashes, first, limits[others + 1], bits)])
    return np.concatenate(found)


def _pairs_within(
    hashes: NDArray[np.uint64], first: NDArray[np.int32], last: NDArray[np.int32], bits: int
) -> NDArray[np.int64]:
    """(p, 2): each row with those of the rows from `first` up to `last` whose hashes differ in at most `bits` bits."""
    counts = np.maximum(last - first, 0)
    totals = np.cumsum(counts, dtype=np.int64)
    found = [np.empty((0, 2), np.int64)]
    start = 0
    while start < len(hashes):
        done = int(totals[start - 1]) if start else 0
        end = max(start + 1, int(np.searchsorted(totals, done + _CHUNK, side="right")))
        here, ends = counts[start:end], (totals[start:end] - done).astype(np.int32)
        rights = np.arange(ends[-1], dtype=np.int32) + np.repeat(first[start:end] - (ends - here), here)
        distances = np.bitwise_count(np.repeat(hashes[start:end], here) ^ hashes[rights])
        hits = np.flatnonzero(distances <= bits)
        found.append(np.stack([start + np.searchsorted(ends, hits, side="right"), rights[hits]], axis=1))
        start = end
    return np.concatenate(found)
