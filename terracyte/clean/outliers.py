"""Cleaning rules for images that do not belong to the task."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terracyte.clean.rules import Raw, drop_all
from terracyte.images.similarity.histograms import histograms, isolation
from terracyte.images.similarity.thumbnails import grey
from terracyte.params import Clean

_SAMPLE = 1000  # images from which quartiles of pixels are estimated
_STABLE = 0.1  # a pixel is stable in a group if its interquartile range is below this share of that over all images
_SMALLEST_OVERLAY = 0.01  # share of the pixels that must be stable
_TOLERANCE = 0.25  # a pixel may differ from the overlay by this many interquartile ranges over all images
_COVERED = 0.5  # share of the stable pixels that must show the overlay
_CHUNK = 256  # images at a time
_ALIKE_ODDITIES = 2  # an odd picture is still an outlier if up to this many others are like it


def repeated_masks(raw: Raw, rows: pd.DataFrame, settings: Clean) -> pd.Series:
    """Drop images that share a mask of several classes because the same object was pasted into all of them.

    A repeated mask alone is no defect: images of plain ground may share one. But in a group with a pasted object, the
    object's pixels vary far less than the same pixels over all images. Members of the group that show the object are
    dropped; genuine images with the same mask stay.
    """
    if not raw.task.dense:
        return drop_all(rows.head(0))
    repeats = rows.groupby("mask_hash")["id"].transform("size")
    suspicious = rows[(repeats >= settings.repeated_mask) & ~rows["mask_constant"]]
    spread = _quartiles(raw, rows)[2] if len(suspicious) else np.zeros(0)
    shown = [_show_overlay(raw, members, spread) for _, members in suspicious.groupby("mask_hash")]
    return drop_all(pd.concat(shown) if shown else suspicious)


def off_distribution(raw: Raw, rows: pd.DataFrame, settings: Clean) -> pd.Series:
    """Drop images whose colours are far from those of all but two others; a larger group of similar images stays."""
    shares = histograms(raw.images, rows["id"].to_numpy(np.int64))
    distances = isolation(shares, raw.task.image_shape[2], _ALIKE_ODDITIES + 1)
    return drop_all(rows[distances >= settings.distance])


def _show_overlay(raw: Raw, members: pd.DataFrame, spread: NDArray[np.float64]) -> pd.DataFrame:
    """Return the members of a group that show the overlay common to most of them; none if there is no overlay."""
    _, overlay, within = _quartiles(raw, members)
    stable = within < _STABLE * spread
    if stable.mean() < _SMALLEST_OVERLAY:
        return members.head(0)
    ids = members["id"].to_numpy(np.int64)
    chunks = (ids[start : start + _CHUNK] for start in range(0, len(ids), _CHUNK))
    differences = (np.abs(grey(raw.images[chunk]) - overlay)[:, stable] for chunk in chunks)
    covered = [(difference <= _TOLERANCE * spread[stable]).mean(axis=1) for difference in differences]
    return members[np.concatenate(covered) >= _COVERED]


def _quartiles(raw: Raw, rows: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return lower quartile, median and interquartile range of each pixel's grey value over the rows, (h, w) each."""
    # The order of content hashes is as good as random, and does not depend on the order of the rows.
    sample = rows.sort_values("content_hash").head(_SAMPLE)
    values = grey(raw.images[np.sort(sample["id"].to_numpy(np.int64))])
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
    return low, middle, high - low
