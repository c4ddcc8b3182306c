"""Pictures to try the page with: validation images of this checkout, never test images."""

import dataclasses
import io

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from terracyte import paths
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


def examples(task: Task) -> list[Example]:
    """Validation images spread evenly over the classes; none where the checkout lacks images of the champion's form."""
    manifest, file = paths.balance_manifest(task.name), paths.images(task.name)
    if not (manifest.exists() and file.exists()):
        return []
    images = np.load(file, mmap_mode="r")
    if images.shape[1:] != task.image_shape:
        return []
    table = pd.read_parquet(manifest)
    rows = table[table["split"] == "validation"].sort_values("id", ignore_index=True)
    strata = task.strata(rows)
    ordered = np.argsort(strata, kind="stable")
    # the middle of each of as many equal parts
    places = ((np.arange(min(_COUNT, len(rows))) + 0.5) * len(rows) / min(_COUNT, max(len(rows), 1))).astype(np.int64)
    return [_example(task, images[rows["id"][row]], int(strata[row])) for row in ordered[places]]


def _example(task: Task, image: NDArray[np.uint8], stratum: int) -> Example:
    title = f"with {task.classes[stratum]}" if task.dense else task.classes[stratum]
    return Example(title, png(Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)))


def png(picture: Image.Image) -> bytes:
    """The picture as a PNG file."""
    stream = io.BytesIO()
    picture.save(stream, "png")
    return stream.getvalue()
