"""Bounds and thresholds that hold for these images, and for others like them, measured on some of them."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terracyte.images.similarity.histograms import histograms, isolation
from terracyte.images.similarity.pairs import Pairs, components, similar_pairs
from terracyte.params import Share
from terracyte.tasks.task import Task

_LOOKED_AT = 2000  # images, evenly spread
# Correlations from which images are near duplicates: where few are, and where many are
_COPY, _SUREST_COPY = 0.93, 0.99
_ALIKE = 0.02  # share of the images that may have a partner more alike than that
_GROUP = 0.75  # correlation from which images share a split
_LARGEST_GROUP = 0.02  # share of the images
_ALIKE_ODDITIES = 3
_ROOM = 1.3  # bounds are wider than what was seen by this factor


def chosen(rows: pd.DataFrame) -> pd.DataFrame:
    """Some rows of a manifest, evenly spread, without copies of one content: what else they are like is measured."""
    unlike = rows.drop_duplicates("content_hash")
    places = np.linspace(0, len(unlike) - 1, min(len(unlike), _LOOKED_AT)).astype(int)
    return unlike.iloc[places].reset_index(drop=True)


def class_share(task: Task, rows: pd.DataFrame) -> Share:
    """Lowest and highest expected share of a scored class, of the images or pixels."""
    counts = task.class_counts(rows)
    return expected(counts[:, list(task.scored_classes)].sum(axis=0) / max(counts.sum(), 1))


def expected(shares: NDArray[np.float64]) -> Share:
    """Lowest and highest expected share of a class, from the classes' (k,) shares, 0-1."""
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
    """The Hellinger distance from which an image is off the distribution."""
    isolated = isolation(histograms(images, rows["id"].to_numpy(np.int64)), images.shape[3], _ALIKE_ODDITIES)
    return round(min(max(float(np.quantile(isolated, 0.99)) * _ROOM, 0.4), 0.95), 2)


def alike(images: NDArray[np.uint8], rows: pd.DataFrame, bits: int) -> Pairs:
    """The pairs from which `copies` and `group` follow; see `similar_pairs`."""
    return similar_pairs(images, rows, bits, _GROUP)


def copies(count: int, pairs: Pairs) -> float:
    """The correlation from which two of `count` images are near duplicates.

    Where images of one class look alike by nature, as digits do, likeness alone makes no copy: a share of `_ALIKE` of
    the images, at most, has a partner above it.
    """
    best = np.zeros(count)
    np.maximum.at(best, pairs.rows, pairs.correlation[:, None])
    return round(float(np.clip(np.quantile(best, 1 - _ALIKE), _COPY, _SUREST_COPY)), 3)


def group(count: int, pairs: Pairs) -> float:
    """The lowest correlation from `_GROUP` on that chains no more than `_LARGEST_GROUP` of the images together."""
    most = max(int(_LARGEST_GROUP * count), 5)
    for correlation in np.arange(_GROUP, 0.995, 0.01):
        if np.bincount(components(count, pairs.rows[pairs.correlation >= correlation])).max() <= most:
            break
    return round(float(correlation), 2)
