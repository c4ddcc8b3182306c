"""Small synthetic pictures for tests of cleaning and splitting; nothing here knows the sample's generator."""

import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from terracyte.images.statistics import describe, describe_masks
from terracyte.params import TaskSpec
from terracyte.tasks import Classification, Segmentation, Task

Images = NDArray[np.uint8]


def classification(classes: Sequence[str], image_shape: tuple[int, int, int], name: str = "blood") -> Classification:
    """Return a classification task with these classes and this image shape."""
    height, width, channels = image_shape
    return Classification(name, _spec("classification", classes, height, width, channels, None))


def segmentation(classes: Sequence[str], image_shape: tuple[int, int, int], name: str = "mars") -> Segmentation:
    """Return a segmentation task with these classes, of which the first is background, and this image shape."""
    height, width, channels = image_shape
    return Segmentation(name, _spec("segmentation", classes, height, width, channels, classes[0]))


def _spec(
    kind: Any, classes: Sequence[str], height: int, width: int, channels: Any, background: str | None
) -> TaskSpec:
    return TaskSpec(
        kind=kind, classes=tuple(classes), height=height, width=width, channels=channels, background=background
    )


BLOOD = classification(("a", "b", "c"), (48, 48, 3))
MARS = segmentation(("background", "soil", "rock"), (32, 64, 1))


def textures(task: Task, n: int, seed: int = 0) -> Images:
    """Return n different smooth random pictures of the same brightness and contrast, (n, h, w, c)."""
    noise = np.random.default_rng(seed).normal(size=(n, *task.image_shape))
    smooth = gaussian_filter(noise, (0, 2, 2, 0))
    centred = smooth - smooth.mean(axis=(1, 2), keepdims=True)
    values = 120 + 30 * centred / centred.std(axis=(1, 2), keepdims=True)
    return np.asarray(values.clip(0, 255), np.uint8)


def random_masks(n: int, seed: int = 0) -> Images:
    """Return n different masks (n, h, w), made of blocks of all classes of MARS."""
    height, width, _ = MARS.image_shape
    blocks = np.random.default_rng(seed).integers(0, len(MARS.classes), (n, height // 8, width // 8))
    return blocks.repeat(8, axis=1).repeat(8, axis=2).astype(np.uint8)


def blood_manifest(images: Images, labels: list[int]) -> pd.DataFrame:
    """Return the manifest of images of task BLOOD."""
    return _named(describe(images)).assign(label=np.array(labels, np.int64))


def mars_manifest(images: Images, masks: Images) -> pd.DataFrame:
    """Return the manifest of images of task MARS."""
    return _named(pd.concat([describe(images), describe_masks(masks, len(MARS.classes))], axis=1))


def _named(statistics: pd.DataFrame) -> pd.DataFrame:
    numbers = np.arange(len(statistics), dtype=np.int64)
    return statistics.assign(id=numbers, name=[f"image {i}" for i in numbers], declared_group="")


def colours_of_16_bits(edge: int) -> bytes:
    """Return a PNG with 16 bits per channel, which Pillow cannot write."""
    rows = b"".join(b"\0" + np.full((edge, 3), 1000, ">u2").tobytes() for _ in range(edge))
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", edge, edge, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
