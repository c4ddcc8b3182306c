"""Example pictures of the page: validation images of this checkout, never test images."""

import dataclasses
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from terracyte import params, tasks
from terracyte.core import files, paths
from terracyte.rendering.pictures import from_array
from terracyte.tasks.task import Task

_COUNT = 8


@dataclasses.dataclass(frozen=True)
class Example:
    """A picture that visitors can click.

    Attributes:
        title: its class.
        png: the content of the file.
    """

    title: str
    png: bytes


def examples(task: Task, folder: Path = Path()) -> list[Example]:
    """Validation images of each scored class, about eight in all; none where `folder` has no images of the task's
    shape and classes.

    For tasks with masks these are images with much of the class, and with a medium amount.
    """
    manifest, file = folder / paths.balance_manifest(task.name), folder / paths.images(task.name)
    if not (manifest.exists() and file.exists()):
        return []
    images, ours = files.map_array(file), tasks.make(task.name, params.load(folder))
    if images.shape[1:] != task.image_shape or (ours.classes, ours.background) != (task.classes, task.background):
        return []
    table = files.read_table(manifest)
    rows = table[table["split"] == "validation"].sort_values("id", ignore_index=True)
    counts, ids = task.class_counts(rows), rows["id"].to_numpy(np.int64)
    return [
        Example(task.classes[k], png(from_array(images[row])))
        for k in task.scored_classes
        for row in ids[_evenly_spaced(counts[:, k], max(1, _COUNT // len(task.scored_classes)))]
    ]


def _evenly_spaced(amounts: NDArray[np.int64], wanted: int) -> NDArray[np.int64]:
    """Indices of images from the largest amount (n,) of a class down to the smallest above 0, evenly spaced."""
    ordered = np.argsort(-amounts, kind="stable")[: np.count_nonzero(amounts)]
    wanted = min(wanted, len(ordered))
    return np.asarray(ordered[np.arange(wanted) * len(ordered) // max(wanted, 1)])


def png(picture: Image.Image) -> bytes:
    """The picture as a PNG file."""
    stream = io.BytesIO()
    picture.save(stream, "png")
    return stream.getvalue()
