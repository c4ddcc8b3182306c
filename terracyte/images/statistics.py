"""Statistics of images: how bright, sharp and colourful they are, and the hashes that tell them apart.

`ingest` writes them into the manifest, so that later stages read a table instead of images; `promote` and `drift`
compute them of other images.
"""

import functools
import hashlib
from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from terracyte import compute
from terracyte.images.similarity.thumbnails import grey, thumbnails

# Statistics that describe an image's look; `clean` compares them with the task's distribution.
STATISTICS = ("brightness", "contrast", "sharpness", "saturation")

_PART = 512  # images per part of the work
_CHUNK = 32  # images whose float64 copies fit the processor's cache: twice as fast as 256
_DECIMALS = 6  # beyond it lies float noise, which differs between processors


def describe(images: NDArray[np.uint8]) -> pd.DataFrame:
    """Describe images, in their order; memory does not grow with n.

    Args:
        images: (n, h, w, c) uint8, 0-255, c being 1 or 3; may be memory-mapped.

    Returns:
        n rows with the columns
        `content_hash` (SHA-256 of the pixels, 64 hex digits), `perceptual_hash` (uint64),
        `brightness` and `contrast` (mean and standard deviation of grey values, 0-255),
        `sharpness` (variance of the Laplacian) and `saturation` (mean HSV saturation, 0-1).
    """
    parts = compute.parallel_map(_describe_part, _parts(images, "describing images"))
    return pd.concat(parts, ignore_index=True)


def describe_masks(masks: NDArray[np.uint8], classes: int) -> pd.DataFrame:
    """Describe masks, in their order; memory does not grow with n.

    Args:
        masks: (n, h, w) uint8 class labels below `classes`; may be memory-mapped.
        classes: k.

    Returns:
        n rows with the columns `mask_hash` (SHA-256), `mask_constant` (one class only), `pixels_0` … `pixels_{k-1}`.
    """
    parts = compute.parallel_map(_describe_masks_part, _parts(masks, "describing masks"), classes)
    return pd.concat(parts, ignore_index=True)


def statistics(images: NDArray[np.uint8], values: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """The columns of `STATISTICS`, (n,) each, of images (n, h, w, c) and their grey values (n, h, w)."""
    neighbours = values[:, :-2, 1:-1] + values[:, 2:, 1:-1] + values[:, 1:-1, :-2] + values[:, 1:-1, 2:]
    laplacian = neighbours - 4 * values[:, 1:-1, 1:-1]
    # Channel by channel: a reduction over an axis of length 3 is 20 times slower.
    channels = [images[..., i] for i in range(images.shape[-1])]
    highest, lowest = functools.reduce(np.maximum, channels), functools.reduce(np.minimum, channels)
    # Of HSV: (max - min) / max over the channels; 0 for black and for one channel.
    saturation = (highest - lowest) / np.maximum(highest, 1)
    return {
        "brightness": values.mean(axis=(1, 2)),
        "contrast": values.std(axis=(1, 2)),
        "sharpness": laplacian.var(axis=(1, 2)),
        "saturation": saturation.mean(axis=(1, 2)),
    }


def perceptual_hash(values: NDArray[np.float64]) -> NDArray[np.uint64]:
    """(n, h, w) grey values → (n,) 64-bit hashes; images that look alike differ in few bits.

    The bits are the signs of the 64 lowest frequencies of the two-dimensional DCT-II after the mean
    (pHash, Zauner 2010, with the threshold at zero so that no bit depends on another coefficient).
    """
    vertical, horizontal = _cosines(values.shape[1]), _cosines(values.shape[2])
    spectrum = vertical @ values @ horizontal.T
    rows, columns = np.divmod(np.arange(81), 9)
    lowest = np.argsort(rows**2 + columns**2, kind="stable")[1:65]
    # The tolerance (grey levels) keeps rounding noise of flat images out of the bits.
    bits = spectrum[:, rows[lowest], columns[lowest]] > 1e-6
    packed = np.ascontiguousarray(np.packbits(bits, axis=1))
    return packed.view(">u8")[:, 0].astype(np.uint64)


def _cosines(length: int) -> NDArray[np.float64]:
    """(9, length): the first basis functions of the DCT-II, as means over the pixels."""
    positions = (np.arange(length) + 0.5) / length
    return np.asarray(np.cos(np.pi * np.arange(9)[:, None] * positions) / length)


def _parts(arrays: NDArray[np.uint8], title: str) -> Iterator[NDArray[np.uint8]]:
    for start in tqdm(range(0, len(arrays), _PART), desc=title, unit="chunk", disable=None):
        yield np.asarray(arrays[start : start + _PART])


def _describe_part(images: NDArray[np.uint8]) -> pd.DataFrame:
    chunks = (images[start : start + _CHUNK] for start in range(0, len(images), _CHUNK))
    return pd.concat([_describe_chunk(chunk) for chunk in chunks], ignore_index=True)


def _describe_chunk(images: NDArray[np.uint8]) -> pd.DataFrame:
    values = grey(images)
    looks = {name: column.round(_DECIMALS) for name, column in statistics(images, values).items()}
    hashes = {"content_hash": _hashes(images), "perceptual_hash": perceptual_hash(thumbnails(values))}
    return pd.DataFrame(hashes | looks)


def _describe_masks_part(masks: NDArray[np.uint8], classes: int) -> pd.DataFrame:
    counts = np.stack([(masks == k).sum(axis=(1, 2)) for k in range(classes)], axis=1)
    pixels = {f"pixels_{k}": counts[:, k].astype(np.int64) for k in range(classes)}
    return pd.DataFrame({"mask_hash": _hashes(masks), "mask_constant": (counts > 0).sum(axis=1) == 1, **pixels})


def _hashes(arrays: NDArray[np.uint8]) -> list[str]:
    return [hashlib.sha256(np.ascontiguousarray(array).data).hexdigest() for array in arrays]
