"""Bounds and thresholds that hold for these images, measured on some of them."""

import dataclasses

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from terracyte.images.similarity.histograms import histograms, isolation
from terracyte.images.similarity.pairs import similar_pairs
from terracyte.images.statistics import describe
from terracyte.ingest.sources.listing import Sample
from terracyte.ingest.sources.pictures import UnreadableError, decoding, load_image, resize_image
from terracyte.tasks.task import Task

_LOOKED_AT = 600  # images; all their pairs are compared
_BITS = 16  # of the hashes of pairs that are compared
_COPY, _GROUP = 0.93, 0.75  # correlations from which images are copies, or of one group, where nothing else is known
_MARGIN = 0.5  # of what is left to 1 above pairs that are alike by chance
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
        by_chance: correlation that one in a thousand pairs of different classes reaches; None where it is not known.
    """

    brightness: tuple[int, int]
    contrast_low: float
    copies: float
    group: float
    distance: float
    by_chance: float | None


def measure(task: Task, samples: list[Sample]) -> Thresholds:
    """Read some images, evenly spread, and measure.

    Two images of different classes are no copies, however alike they look: what such pairs reach by chance is no
    sign of a copy between others.
    """
    chosen = [samples[place] for place in np.linspace(0, len(samples) - 1, min(len(samples), _LOOKED_AT)).astype(int)]
    images, labels = _read(task, chosen)
    table = describe(images).assign(id=np.arange(len(images)))
    by_chance = None if task.dense else _by_chance(images, table, labels)
    low, high = np.quantile(table["brightness"], [0.005, 0.995])
    spread = max((high - low) * (_ROOM - 1), 5)
    isolated = isolation(histograms(images, table["id"].to_numpy(np.int64)), task.image_shape[2], _ALIKE_ODDITIES)
    return Thresholds(
        brightness=(int(max(low - spread, 0)), int(min(high + spread + 1, 255))),
        contrast_low=round(float(np.quantile(table["contrast"], 0.005)) / _ROOM, 1),
        copies=_above(by_chance, _COPY),
        group=_above(by_chance, _GROUP),
        distance=round(min(max(float(np.quantile(isolated, 0.99)) * _ROOM, 0.4), 0.95), 2),
        by_chance=by_chance,
    )


def _read(task: Task, samples: list[Sample]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    height, width, _ = task.image_shape
    images, labels = [], []
    for sample in tqdm(samples, "measuring", leave=False, disable=None):
        try:
            images.append(resize_image(load_image(task, sample.image).picture, height, width))
        except UnreadableError:  # `look` says which
            continue
        labels.append(-1 if sample.label is None else sample.label)
    return np.stack(images), np.array(labels)


def _by_chance(images: NDArray[np.uint8], table: pd.DataFrame, labels: NDArray[np.int64]) -> float | None:
    pairs = similar_pairs(images, table, _BITS, 0.5)
    differ = labels[pairs.rows[:, 0]] != labels[pairs.rows[:, 1]]
    counts = np.bincount(labels)
    of_all = (len(labels) ** 2 - int((counts**2).sum())) // 2  # pairs of different classes, most of them not alike
    among = np.sort(pairs.correlation[differ])[::-1]
    rank = max(of_all // 1000, 1)
    return round(float(among[rank - 1]), 3) if len(among) >= rank else None


def _above(by_chance: float | None, usual: float) -> float:
    return usual if by_chance is None else round(max(usual, by_chance + _MARGIN * (1 - by_chance)), 3)


def pixel_range(samples: list[Sample]) -> tuple[float, float]:
    """The values that nearly all pixels of some pictures of more than 8 bits lie between."""
    low, high = np.inf, -np.inf
    for place in np.linspace(0, len(samples) - 1, min(len(samples), 100)).astype(int):
        with decoding(samples[place].image) as (picture, bits):
            if bits > 8:
                darkest, brightest = np.quantile(np.asarray(picture), [0.001, 0.999])
                low, high = min(low, float(darkest)), max(high, float(brightest))
    return (low, high) if low < high else (0.0, 65535.0)
