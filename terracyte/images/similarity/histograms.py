"""Colour histograms: what is in a picture, wherever it lies; and which pictures are alike in it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from terracyte import compute

# Levels per channel: cells of 8x8x8 tell stains apart, grey pictures need finer steps.
_LEVELS = {1: 32, 3: 8}
_CHUNK = 64  # images
_EXHAUSTIVE = 65_536  # rows up to which comparing all with all is the fastest search
_PROBES = 16  # cells of the inverted file that a query visits
_TRAINED = 64  # rows per cell that place the cells
_IMAGES = 512  # per part of the work
_POINTS = 16_384  # rows at a time beside the index


def histograms(images: NDArray[np.uint8], ids: NDArray[np.int64]) -> NDArray[np.float32]:
    """Shares of the joint colour levels of some images.

    Args:
        images: (N, h, w, c) uint8, c being 1 or 3; may be memory-mapped.
        ids: (n,) places in `images`.

    Returns:
        (n, 512) for three channels, (n, 32) for one; each row sums to 1.
    """
    starts = tqdm(range(0, len(ids), _IMAGES), desc="counting colours", unit="chunk", disable=None)
    parts = compute.parallel_map(_count_part, (images[ids[start : start + _IMAGES]] for start in starts))
    channels = images.shape[-1]
    shares = np.empty((len(ids), _LEVELS[channels] ** channels), np.float32)
    for start, part in zip(range(0, len(ids), _IMAGES), parts, strict=True):
        shares[start : start + _IMAGES] = part
    return shares


def smooth(shares: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    """Spread each level over its neighbours, so that a slightly brighter copy of a narrow histogram stays near it."""
    from scipy.ndimage import convolve1d  # here: `validate` needs no search, and SciPy takes a third of a second

    levels = _LEVELS[channels]
    cube = shares.reshape(-1, *[levels] * channels)
    for axis in range(1, channels + 1):
        cube = convolve1d(cube, [0.25, 0.5, 0.25], axis=axis, mode="nearest")
    return np.asarray(cube.reshape(len(shares), -1))


def nearest(shares: NDArray[np.float32], neighbours: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The rows that are most alike each row.

    Args:
        shares: (n, d), each row summing to 1.
        neighbours: how many to find; at most n - 1 exist.

    Returns:
        Hellinger distances (0 equal, 1 disjoint) and row numbers, both (n, min(neighbours, n - 1)), nearest first;
        above 65,536 rows the search is approximate, and -1 stands for a neighbour that it did not find.
    """
    used = np.asarray(shares.any(axis=0))
    index = _search_index(shares, used)
    size = len(shares) if len(shares) <= _EXHAUSTIVE else _POINTS
    parts = [
        index.search(_root_shares(shares[start : start + size], used), min(neighbours + 1, len(shares)))
        for start in range(0, len(shares), size)
    ]
    found, rows = (np.concatenate(each) for each in zip(*parts, strict=True))
    # A row is its own nearest, but for equal ones that may come first: push it out by its number.
    own = rows == np.arange(len(shares))[:, None]
    own[~own.any(axis=1), -1] = True
    kept = (len(shares), rows.shape[1] - 1)
    distances = np.sqrt(np.clip(1 - found[~own].reshape(kept), 0, 1, dtype=np.float64))
    return distances, rows[~own].reshape(kept)


def isolation(shares: NDArray[np.float32], channels: int, neighbours: int) -> NDArray[np.float64]:
    """How far each row is from most others.

    Args:
        shares: (n, d) of `histograms`.
        channels: of the images, 1 or 3.
        neighbours: of the distance: up to as many odd pictures that are alike still stand out.

    Returns:
        (n,) Hellinger distances (0-1) of the smoothed histograms to their `neighbours`-th nearest; 0 if n is too small.
    """
    if len(shares) <= neighbours:
        return np.zeros(len(shares))
    distances, _ = nearest(smooth(shares, channels), neighbours)
    return distances[:, -1]


def _root_shares(shares: NDArray[np.float32], used: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Square roots: their inner product is the Bhattacharyya coefficient, 1 - Hellinger distance²."""
    return np.ascontiguousarray(np.sqrt(shares[:, used]))


def _count_part(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.concatenate([count_levels(images[start : start + _CHUNK]) for start in range(0, len(images), _CHUNK)])


def count_levels(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What `histograms` returns, of all of these images at once (n, h, w, c)."""
    n, *_, channels = images.shape
    bits = _LEVELS[channels].bit_length() - 1
    cells = 1 << bits * channels
    # shifts instead of divisions, of bytes as long as can be: a third of the time
    levels = (images >> (8 - bits)).reshape(n, -1, channels)
    codes = levels[..., 0].astype(np.int64)
    for channel in range(1, channels):
        codes <<= bits
        codes |= levels[..., channel]
    numbered = codes + cells * np.arange(n)[:, None]
    counts = np.bincount(numbered.ravel(), minlength=cells * n).reshape(n, cells)
    return np.asarray(counts / numbered.shape[1], np.float32)


def _search_index(shares: NDArray[np.float32], used: NDArray[np.bool_]) -> Any:
    import faiss

    n, dimensions = len(shares), int(used.sum())
    exact = faiss.IndexFlatIP(dimensions)
    if n <= _EXHAUSTIVE:
        exact.add(_root_shares(shares, used))
        return exact
    cells = int(4 * n**0.5)
    # half precision: half the memory
    half = faiss.ScalarQuantizer.QT_fp16
    inverted = faiss.IndexIVFScalarQuantizer(exact, dimensions, cells, half, faiss.METRIC_INNER_PRODUCT)
    inverted.nprobe = _PROBES
    sample = np.random.default_rng(0).choice(n, min(n, _TRAINED * cells), replace=False)
    inverted.train(_root_shares(shares[np.sort(sample)], used))
    for start in range(0, n, _POINTS):
        inverted.add(_root_shares(shares[start : start + _POINTS], used))
    return inverted
