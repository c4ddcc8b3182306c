"""Pairs of images that show the same: candidates from an index, each verified on its pixels.

Two kinds of candidates complement one another. Perceptual hashes within a Hamming distance are views from the
same place: copies, recompressed or relit ones, neighbouring frames. Nearest colour histograms are crops of the
same slide that are shifted against each other, which no hash of a whole picture survives.
"""

import dataclasses
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from terracyte import compute
from terracyte.images.similarity.hamming import hash_pairs
from terracyte.images.similarity.histograms import histograms, nearest
from terracyte.images.similarity.thumbnails import grey, thumbnails

_NEIGHBOURS = 8  # nearest histograms that are candidates; 20 of the 21 known shifted pairs of blood are among 6
_OVERLAP = 0.4  # smallest share of the picture that two shifted views have in common
_CHUNK = 32  # images
_BLOCK = 256  # pairs; their spectra fit the processor's cache
_PAIRS = 2048  # per part of the work
_IMAGES = 512  # per part of the work
_IN_MEMORY = 100_000  # thumbnails, of 9 kB


class Rows(Protocol):
    """(n, h, w) float32 by row numbers."""

    def __getitem__(self, rows: NDArray[np.int64], /) -> NDArray[np.float32]: ...


@dataclasses.dataclass(frozen=True)
class Pairs:
    """p pairs of rows of one table.

    Attributes:
        rows: (p, 2) int64 row numbers, the lower first.
        correlation: (p,) of the two thumbnails where they overlap at their best shift, -1 to 1.
        shift: (p,) that shift, as a share of the edge: the larger of both directions, 0-0.5.
    """

    rows: NDArray[np.int64]
    correlation: NDArray[np.float64]
    shift: NDArray[np.float64]

    def __getitem__(self, which: NDArray[np.bool_]) -> "Pairs":
        return Pairs(self.rows[which], self.correlation[which], self.shift[which])


def similar_pairs(images: NDArray[np.uint8], manifest: pd.DataFrame, bits: int, correlation: float) -> Pairs:
    """Find the pairs of images that show the same, perhaps shifted by up to half the picture.

    Args:
        images: (N, h, w, c) uint8; may be memory-mapped.
        manifest: the rows to compare, with `id` (place in `images`) and `perceptual_hash`.
        bits: largest Hamming distance of the candidates' hashes.
        correlation: smallest correlation of a pair.

    Returns:
        Pairs of row numbers (not ids) of `manifest`.
    """
    ids = manifest["id"].to_numpy(np.int64)
    _, neighbours = nearest(histograms(images, ids), _NEIGHBOURS)
    alike = np.stack([np.repeat(np.arange(len(ids)), neighbours.shape[1]), neighbours.ravel()], axis=1)
    candidates = [hash_pairs(manifest["perceptual_hash"].to_numpy(np.uint64), bits), np.sort(alike, axis=1)]
    rows = np.unique(np.concatenate(candidates), axis=0)
    with _thumbnails(images, ids) as small:
        return verify(small, rows[rows[:, 0] >= 0], correlation)


def verify(small: Rows, rows: NDArray[np.int64], correlation: float) -> Pairs:
    """Keep the pairs whose thumbnails correlate at their best shift.

    The shift is the peak of the circular cross-correlation, computed for all shifts at once in the frequency
    domain; the correlation is then taken over the overlap alone.

    Args:
        small: (n, h, w) thumbnails, in memory or not.
        rows: (p, 2) row numbers of `small`; neighbouring pairs share rows, where they are sorted.
        correlation: smallest correlation to keep.
    """
    progress = tqdm(range(0, len(rows), _PAIRS), desc="comparing images", unit="block", disable=None)
    blocks = ((small, rows[start : start + _PAIRS]) for start in progress)
    found = list(compute.parallel_map(_verify_block, (_with_thumbnails(*block) for block in blocks), correlation))
    if not found:
        return Pairs(rows, np.empty(0), np.empty(0))
    correlations, shifts = (np.concatenate(each) for each in zip(*found, strict=True))
    return Pairs(rows, correlations, shifts)[correlations >= correlation]


def _with_thumbnails(small: Rows, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The thumbnails of some pairs, and the pairs as row numbers of these."""
    used, numbers = np.unique(rows, return_inverse=True)
    return np.asarray(small[used]), numbers.reshape(rows.shape)


def _verify_block(
    block: tuple[NDArray[np.float32], NDArray[np.int64]], correlation: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Correlation and relative shift of each pair; a correlation of 0 where it cannot be the wanted one."""
    small, rows = block
    centred = small - small.mean(axis=(1, 2), keepdims=True)
    norms = np.sqrt((centred**2).sum(axis=(1, 2)))
    centred /= np.maximum(norms, np.finfo(np.float32).tiny)[:, None, None]
    peaks, shifts = _best_shifts(centred, rows)
    # The peak counts the overlap only: pairs far below its share of the wanted correlation cannot reach it.
    likely = peaks >= correlation * _OVERLAP
    found = np.zeros(len(rows))
    found[likely] = _overlap_correlations(centred, rows[likely], shifts[likely])
    return found, np.abs(shifts / np.array(small.shape[1:])).max(axis=1, initial=0)


def components(n: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) for each of n rows the lowest row that it is connected to by (p, 2) pairs, directly or not."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    _, labels = connected_components(links, directed=False)
    _, first = np.unique(labels, return_index=True)
    return np.asarray(first[labels], np.int64)


@contextmanager
def _thumbnails(images: NDArray[np.uint8], ids: NDArray[np.int64]) -> Iterator[Rows]:
    """(n, h', w') float32 thumbnails; on disk where they are many."""
    starts = tqdm(range(0, len(ids), _IMAGES), desc="shrinking images", unit="chunk", disable=None)
    parts = compute.parallel_map(_thumbnails_of, (images[ids[start : start + _IMAGES]] for start in starts))
    if len(ids) <= _IN_MEMORY:
        yield np.concatenate(list(parts))
        return
    with tempfile.TemporaryFile(prefix="terracyte-") as stream:
        for part in parts:
            stream.write(part.data)
        stream.flush()
        yield _RowsOnDisk(stream, (len(ids), *part.shape[1:]))


class _RowsOnDisk:
    """(n, ...) float32 in a file, of which the rows that are asked for are read."""

    def __init__(self, stream: IO[bytes], shape: tuple[int, ...]) -> None:
        self._stream, self._shape = stream, shape

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        # mapped for the moment: pages that were read would count as this process's memory
        array = np.memmap(self._stream, np.float32, "r", shape=self._shape)
        return np.asarray(array[rows])


def _thumbnails_of(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    chunks = (images[start : start + _CHUNK] for start in range(0, len(images), _CHUNK))
    return np.concatenate([thumbnails(grey(chunk)).astype(np.float32) for chunk in chunks])


def _best_shifts(
    centred: NDArray[np.float32], rows: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Height of the circular cross-correlation's peak (p,), and its place as signed shifts (p, 2)."""
    from scipy import fft  # here: `validate` needs no search, and SciPy takes a third of a second

    shape = centred.shape[1:]
    spectra = fft.rfft2(centred, axes=(1, 2))
    peaks, places = np.empty(len(rows), np.float32), np.empty(len(rows), np.int64)
    for start in range(0, len(rows), _BLOCK):
        left, right = rows[start : start + _BLOCK].T
        surface = fft.irfft2(spectra[left] * spectra[right].conj(), shape, axes=(1, 2)).reshape(len(left), -1)
        places[start : start + _BLOCK] = surface.argmax(axis=1)
        peaks[start : start + _BLOCK] = surface.max(axis=1)
    shifts = np.stack(np.unravel_index(places, shape), axis=1)
    return peaks, np.where(shifts > np.array(shape) // 2, shifts - np.array(shape), shifts)


def _overlap_correlations(
    centred: NDArray[np.float32], rows: NDArray[np.int64], shifts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(p,) Pearson correlations over the overlaps; 0 where these are too small or flat."""
    found = np.zeros(len(rows))
    if not len(rows):
        return found
    distinct, which = np.unique(shifts, axis=0, return_inverse=True)
    order = np.argsort(which, kind="stable")
    ends = np.cumsum(np.bincount(which, minlength=len(distinct)))
    for (down, right), members in zip(distinct, np.split(order, ends[:-1]), strict=True):
        if (1 - abs(down) / centred.shape[1]) * (1 - abs(right) / centred.shape[2]) >= _OVERLAP:
            for start in range(0, len(members), _BLOCK):
                block = members[start : start + _BLOCK]
                left, other = rows[block].T
                found[block] = _correlations(_crop(centred[left], down, right), _crop(centred[other], -down, -right))
    return found


def _crop(values: NDArray[np.float32], down: int, right: int) -> NDArray[np.float32]:
    """The part of (b, h, w) pictures that their counterparts, lying `down` and `right` of them, show too."""
    _, height, width = values.shape
    return values[:, max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)]


def _correlations(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float64]:
    left, right = left - left.mean(axis=(1, 2), keepdims=True), right - right.mean(axis=(1, 2), keepdims=True)
    power = (left**2).sum(axis=(1, 2)) * (right**2).sum(axis=(1, 2))
    covariance = (left * right).sum(axis=(1, 2))
    return np.asarray(np.divide(covariance, np.sqrt(power), out=np.zeros(len(left)), where=power > 0))
