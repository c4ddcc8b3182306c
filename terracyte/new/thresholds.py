"""Bounds and thresholds that hold for these images, measured on some of them."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from terracyte.images.similarity.histograms import histograms, isolation
from terracyte.images.similarity.pairs import Pairs, components, similar_pairs
from terracyte.images.statistics import describe

_BITS = 11  # of the hashes of pairs that are compared, as `clean` and `balance` do
# Correlations from which images are near duplicates: where few are, and where many are
_COPY, _SUREST_COPY = 0.93, 0.99
_ALIKE = 0.02  # share of the images that may have a partner more alike than that
_GROUP = 0.75  # correlation from which images share a split
_LARGEST_GROUP = 0.02  # share of the images
_ALIKE_ODDITIES = 3
_ROOM = 1.3  # bounds are wider than what was seen by this factor


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """What goes into params.yaml.

    Attributes:
        brightness: lowest and highest expected mean grey value of an image.
        contrast_low: lowest expected standard deviation of its grey values.
        copies: correlation from which two images are near duplicates.
        group: correlation from which they must share a split.
        distance: Hellinger distance from which an image is off the distribution.
    """

    brightness: tuple[int, int]
    contrast_low: float
    copies: float
    group: float
    distance: float


def measure(images: NDArray[np.uint8]) -> Thresholds:
    """Measure some images (n, h, w, c).

    Where images of one class look alike by nature, as digits do, likeness alone makes no copy, and would chain them all
    into one group: the thresholds rise until few images have a copy and no group is large.
    """
    table = describe(images).assign(id=np.arange(len(images)))
    pairs = similar_pairs(images, table, _BITS, _GROUP)
    low, high = np.quantile(table["brightness"], [0.005, 0.995])
    spread = max((high - low) * (_ROOM - 1), 5)
    isolated = isolation(histograms(images, table["id"].to_numpy(np.int64)), images.shape[3], _ALIKE_ODDITIES)
    return Thresholds(
        brightness=(int(max(low - spread, 0)), int(min(high + spread + 1, 255))),
        contrast_low=round(float(np.quantile(table["contrast"], 0.005)) / _ROOM, 1),
        copies=_copies(len(images), pairs),
        group=_group(len(images), pairs),
        distance=round(min(max(float(np.quantile(isolated, 0.99)) * _ROOM, 0.4), 0.95), 2),
    )


def _copies(count: int, pairs: Pairs) -> float:
    """The correlation above which a share of `_ALIKE` of the images has a partner, within its bounds."""
    best = np.zeros(count)
    np.maximum.at(best, pairs.rows, pairs.correlation[:, None])
    return round(float(np.clip(np.quantile(best, 1 - _ALIKE), _COPY, _SUREST_COPY)), 3)


def _group(count: int, pairs: Pairs) -> float:
    """The lowest correlation from `_GROUP` on that chains no more than `_LARGEST_GROUP` of the images together."""
    most = max(int(_LARGEST_GROUP * count), 5)
    for correlation in np.arange(_GROUP, 0.995, 0.01):
        if np.bincount(components(count, pairs.rows[pairs.correlation >= correlation])).max() <= most:
            break
    return round(float(correlation), 2)
