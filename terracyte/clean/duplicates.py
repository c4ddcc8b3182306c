"""Cleaning rules for images that occur more than once."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terracyte.clean.rules import Raw, drop_all
from terracyte.images.similarity.pairs import components, similar_pairs
from terracyte.params import Clean

# Share of the edge. Views with larger shifts are crops around neighbouring objects: other samples of the same slide.
_SMALL_SHIFT = 0.1


def repeated_images(raw: Raw, rows: pd.DataFrame, settings: Clean) -> pd.Series:
    """Drop every copy of an image content that occurs very often or under many labels: it is not meant as a sample."""
    contents = rows.groupby("content_hash")
    often = contents["id"].transform("size") >= settings.repeated_image
    labels = contents[raw.target].transform("nunique") >= settings.repeated_labels
    return drop_all(rows[often | labels])


def conflicting_duplicates(raw: Raw, rows: pd.DataFrame, settings: Clean) -> pd.Series:
    """Drop every copy of an image content with more than one label (or mask): nobody knows which is right."""
    return drop_all(rows[rows.groupby("content_hash")[raw.target].transform("nunique") > 1])


def exact_duplicates(raw: Raw, rows: pd.DataFrame, settings: Clean) -> pd.Series:
    """Keep the lowest id of each image content."""
    return _keep_first(rows, rows.groupby("content_hash")["id"].transform("min").to_numpy())


def near_duplicates(raw: Raw, rows: pd.DataFrame, settings: Clean) -> pd.Series:
    """Keep the lowest id of images that look the same, almost unshifted, and have (nearly) the same ground truth.

    Similar images with different ground truth stay: both annotations may be right.
    """
    rows = rows.sort_values("id", ignore_index=True)
    pairs = similar_pairs(raw.images, rows, settings.near_duplicate_bits, settings.near_duplicate_correlation)
    close = pairs[pairs.shift <= _SMALL_SHIFT].rows
    ids = rows["id"].to_numpy(np.int64)
    if raw.masks is None:
        labels = rows[raw.target].to_numpy()
        same = labels[close[:, 0]] == labels[close[:, 1]]
    else:
        agreement = [(raw.masks[left] == raw.masks[right]).mean() for left, right in ids[close]]
        same = np.array(agreement, np.float64) >= settings.near_duplicate_mask
    return _keep_first(rows, ids[components(len(rows), close[same])])


def _keep_first(rows: pd.DataFrame, first: NDArray[np.int64]) -> pd.Series:
    """Drop the rows whose id is not `first`: (n,) for each row the id that is kept."""
    ids = rows["id"].to_numpy()
    dropped = ids != first
    return pd.Series(first[dropped], index=ids[dropped])
