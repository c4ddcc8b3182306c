"""Measure on a task's images the bounds and thresholds that fit them and others like them."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terracyte.images.similarity.histograms import histograms, isolation
from terracyte.images.similarity.pairs import Pairs, components, similar_pairs
from terracyte.params import Share
from terracyte.tasks.task import Task

_LOOKED_AT = 2000  # most images that are compared, evenly spread
# Bounds of the correlation from which images are near duplicates: used where few look alike, and where many do
_COPY, _SUREST_COPY = 0.93, 0.99
_ALIKE = 0.02  # share of the images that may have a partner above the threshold
_GROUP = 0.75  # lowest correlation from which images share a group, and so a split
_LARGEST_GROUP = 0.02  # share of the images
_ALIKE_ODDITIES = 3
_ROOM = 1.3  # bounds are wider than what was seen by this factor


def chosen(rows: pd.DataFrame) -> pd.DataFrame:
    """Return some rows of a manifest, evenly spread, one per image content: exact copies would distort measurements."""
    unlike = rows.drop_duplicates("content_hash")
    places = np.linspace(0, len(unlike) - 1, min(len(unlike), _LOOKED_AT)).astype(int)
    return unlike.iloc[places].reset_index(drop=True)


def class_share(task: Task, rows: pd.DataFrame) -> Share:
    """Return the lowest and highest expected share of a scored class, of the images or pixels."""
    counts = task.class_counts(rows)
    return expected(counts[:, list(task.scored_classes)].sum(axis=0) / max(counts.sum(), 1))


def expected(shares: NDArray[np.float64]) -> Share:
    """Return the lowest and highest expected share of a class, from the classes' (k,) shares, 0-1."""
    return Share(low=round(float(shares.min()) / 2, 4), high=round(min(float(shares.max()) * 1.5, 1.0), 4))


def brightness(rows: pd.DataFrame) -> tuple[float, float]:
    """Lowest and highest expected mean grey value of an image."""
    low, high = np.quantile(rows["brightness"], [0.005, 0.995])
    spread = max((high - low) * (_ROOM - 1), 5)
    return float(int(max(low - spread, 0))), float(int(min(high + spread + 1, 255)))


def contrast_low(rows: pd.DataFrame) -> float:
    """Lowest expected standard deviation of an image's grey values."""
    return round(float(np.quantile(rows["contrast"], 0.005)) / _ROOM, 1)


def distance(images: NDArray[np.uint8], rows: pd.DataFrame) -> float:
    """Return the Hellinger distance (0-1) from which an image is off the task's distribution."""
    isolated = isolation(histograms(images, rows["id"].to_numpy(np.int64)), images.shape[3], _ALIKE_ODDITIES)
    return round(min(max(float(np.quantile(isolated, 0.99)) * _ROOM, 0.4), 0.95), 2)


def alike(images: NDArray[np.uint8], rows: pd.DataFrame, bits: int) -> Pairs:
    """Find the pairs of similar images that `copies` and `group` take; see `similar_pairs`."""
    return similar_pairs(images, rows, bits, _GROUP)


def copies(count: int, pairs: Pairs) -> float:
    """Return the correlation from which two of `count` images are near duplicates, in `_COPY` to `_SUREST_COPY`.

    Where images of one class look alike by nature, as digits do, likeness alone makes no copy: between these bounds,
    at most a share of `_ALIKE` of the images has a partner above the returned correlation.
    """
    best = np.zeros(count)
    np.maximum.at(best, pairs.rows, pairs.correlation[:, None])
    return round(float(np.clip(np.quantile(best, 1 - _ALIKE), _COPY, _SUREST_COPY)), 3)


def group(count: int, pairs: Pairs) -> float:
    """Return the lowest correlation, from `_GROUP` on, at which no group exceeds `_LARGEST_GROUP` of the images.

    Groups of up to 5 images are always allowed; where no correlation is high enough, the result is 0.99.
    """
    most = max(int(_LARGEST_GROUP * count), 5)
    for correlation in np.arange(_GROUP, 0.995, 0.01):
        if np.bincount(components(count, pairs.rows[pairs.correlation >= correlation])).max() <= most:
            break
    return round(float(correlation), 2)
