"""Pictures to try the page with: validation images of this checkout, never test images."""

import dataclasses
import io
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from terracyte.core import paths
from terracyte.tasks.task import Task

_COUNT = 8


@dataclasses.dataclass(frozen=True)
class Example:
    """A picture to click.

    Attributes:
        title: what it shows.
        png: the file.
    """

    title: str
    png: bytes


def examples(task: Task, folder: Path = Path()) -> list[Example]:
    """Validation images of each class; none where the experiment in `folder` lacks images of the champion's form.

    Of masks: those that hold most of a class, and the one in the middle between most and least.
    """
    manifest, file = folder / paths.balance_manifest(task.name), folder / paths.images(task.name)
    if not (manifest.exists() and file.exists()):
        return []
    images = np.load(file, mmap_mode="r")
    if images.shape[1:] != task.image_shape:
        return []
    table = pd.read_parquet(manifest)
    rows = table[table["split"] == "validation"].sort_values("id", ignore_index=True)
    counts, ids = task.class_counts(rows), rows["id"].to_numpy(np.int64)
    return [
        Example(task.classes[k], png(picture(images[row])))
        for k in task.scored_classes
        for row in ids[_typical(counts[:, k], max(1, _COUNT // len(task.scored_classes)))]
    ]


def _typical(amounts: NDArray[np.int64], wanted: int) -> NDArray[np.int64]:
    """Places of images from the largest amount of a class down; none without any."""
    ordered = np.argsort(-amounts, kind="stable")[: np.count_nonzero(amounts)]
    steps = np.arange(min(wanted, len(ordered))) * len(ordered) // max(wanted, 1)
    return np.asarray(ordered[steps])


def picture(image: NDArray[np.uint8]) -> Image.Image:
    """An image (h, w, c), c being 1 or 3."""
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def png(picture: Image.Image) -> bytes:
    """The picture as a PNG file."""
    stream = io.BytesIO()
    picture.save(stream, "png")
    return stream.getvalue()
