"""Pixels → the manifest's statistics: one row per image; later stages read this table instead of images."""

import functools
import hashlib

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from terracyte import compute
from terracyte.images.similarity.thumbnails import grey, thumbnails
from terracyte.tasks.task import Task

# Statistics that describe an image's look; `clean` compares them with the task's distribution.
STATISTICS = ("brightness", "contrast", "sharpness", "saturation")

_IMAGES = 512  # per part of the work
_CHUNK = 32  # images whose float64 copies fit the processor's cache: twice as fast as 256
_DECIMALS = 6  # beyond it lies float noise, which differs between processors


def describe(task: Task, images: NDArray[np.uint8], masks: NDArray[np.uint8] | None = None) -> pd.DataFrame:
    """Describe images (and their masks, for dense tasks), in their order; memory does not grow with n.

    Args:
        task: gives the number of classes, and whether there are masks.
        images: (n, h, w, c) uint8, 0-255, c being 1 or 3; may be memory-mapped.
        masks: (n, h, w) uint8 class labels below k; None for tasks with labels.

    Returns:
        n rows with the columns
        `content_hash` (SHA-256 of the pixels, 64 hex digits), `perceptual_hash` (uint64),
        `brightness` and `contrast` (mean and standard deviation of grey values, 0-255),
        `sharpness` (variance of the Laplacian), `saturation` (mean HSV saturation, 0-1), and with masks
        `mask_hash` (SHA-256), `mask_constant` (one class only), `pixels_0` … `pixels_{k-1}`.
    """
    starts = tqdm(range(0, len(images), _IMAGES), desc="describing images", unit="chunk", disable=None)
    pictures = (slice(start, start + _IMAGES) for start in starts)
    parts = ((np.asarray(images[rows]), None if masks is None else np.asarray(masks[rows])) for rows in pictures)
    return pd.concat(compute.spread(_describe_part, parts, task), ignore_index=True)


def perceptual_hash(values: NDArray[np.float64]) -> NDArray[np.uint64]:
    """(n, h, w) grey values → (n,) 64-bit hashes; images that look alike differ in few bits.

    The bits are the signs of the 64 lowest frequencies of the two-dimensional DCT-II after the mean
    (pHash, Zauner 2010, with the threshold at zero so that no bit depends on another coefficient).
    """
    vertical, horizontal = _cosines(values.shape[1]), _cosines(values.shape[2])
    spectrum = vertical @ values @ horizontal.T
    rows, columns = _lowest_frequencies()
    # The tolerance (grey levels) keeps rounding noise of flat images out of the bits.
    bits = spectrum[:, rows, columns] > 1e-6
    packed = np.ascontiguousarray(np.packbits(bits, axis=1))
    return packed.view(">u8")[:, 0].astype(np.uint64)


def statistics(images: NDArray[np.uint8], values: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """The columns of `STATISTICS`, (n,) each, of images (n, h, w, c) and their grey values (n, h, w)."""
    return {
        "brightness": values.mean(axis=(1, 2)),
        "contrast": values.std(axis=(1, 2)),
        "sharpness": _laplacian(values).var(axis=(1, 2)),
        "saturation": _saturation(images),
    }


def _describe_part(part: tuple[NDArray[np.uint8], NDArray[np.uint8] | None], task: Task) -> pd.DataFrame:
    images, masks = part
    chunks = (slice(start, start + _CHUNK) for start in range(0, len(images), _CHUNK))
    tables = [_describe_chunk(task, images[rows], None if masks is None else masks[rows]) for rows in chunks]
    return pd.concat(tables, ignore_index=True)


def _describe_chunk(task: Task, images: NDArray[np.uint8], masks: NDArray[np.uint8] | None) -> pd.DataFrame:
    values = grey(images)
    columns = {
        "content_hash": _hashes(images),
        "perceptual_hash": perceptual_hash(thumbnails(values)),
        **{name: column.round(_DECIMALS) for name, column in statistics(images, values).items()},
    }
    if masks is not None:
        columns |= _describe_masks(masks, len(task.classes))
    return pd.DataFrame(columns)


def _describe_masks(masks: NDArray[np.uint8], classes: int) -> dict[str, NDArray[np.generic] | list[str]]:
    flat = masks.reshape(len(masks), -1)
    counts = np.stack([(flat == k).sum(axis=1) for k in range(classes)], axis=1)
    pixels = {f"pixels_{k}": counts[:, k].astype(np.int64) for k in range(classes)}
    return {"mask_hash": _hashes(masks), "mask_constant": (counts > 0).sum(axis=1) == 1, **pixels}


def _hashes(arrays: NDArray[np.uint8]) -> list[str]:
    return [hashlib.sha256(np.ascontiguousarray(array).data).hexdigest() for array in arrays]


def _laplacian(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, h, w) → (n, h-2, w-2): four neighbours minus four times the centre."""
    neighbours = values[:, :-2, 1:-1] + values[:, 2:, 1:-1] + values[:, 1:-1, :-2] + values[:, 1:-1, 2:]
    return neighbours - 4 * values[:, 1:-1, 1:-1]


def _saturation(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(n, h, w, c) → (n,): mean of (max - min) / max over the channels; 0 for black and for one channel."""
    # Channel by channel: a reduction over an axis of length 3 is 20 times slower.
    channels = [images[..., i] for i in range(images.shape[-1])]
    highest, lowest = functools.reduce(np.maximum, channels), functools.reduce(np.minimum, channels)
    return np.asarray(((highest - lowest) / np.maximum(highest, 1)).mean(axis=(1, 2)))


def _cosines(length: int) -> NDArray[np.float64]:
    """(9, length): the first basis functions of the DCT-II, as means over the pixels."""
    positions = (np.arange(length) + 0.5) / length
    return np.asarray(np.cos(np.pi * np.arange(9)[:, None] * positions) / length)


def _lowest_frequencies() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the 64 lowest non-zero frequencies of a 9x9 spectrum, lowest first."""
    rows, columns = np.divmod(np.arange(81), 9)
    order = np.argsort(rows**2 + columns**2, kind="stable")[1:65]
    return rows[order], columns[order]
