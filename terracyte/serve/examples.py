"""Example pictures of the page: validation images of the experiment, never test images."""

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
        title: the name of the class that it shows.
        png: the content of the PNG file.
    """

    title: str
    png: bytes


def examples(task: Task, folder: Path = Path()) -> list[Example]:
    """Return validation images of up to eight scored classes, up to eight in all; none if the experiment in `folder`
    has no images of the task's shape and classes.

    For tasks with masks, the images differ in their amount of the class, beginning with the largest.
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
        for k in task.scored_classes[:_COUNT]
        for row in ids[_evenly_spaced(counts[:, k], max(1, _COUNT // len(task.scored_classes)))]
    ]


def _evenly_spaced(amounts: NDArray[np.int64], wanted: int) -> NDArray[np.int64]:
    """Return evenly spaced indices into the images sorted by their amount (n,) of a class, largest first, without 0."""
    ordered = np.argsort(-amounts, kind="stable")[: np.count_nonzero(amounts)]
    wanted = min(wanted, len(ordered))
    return np.asarray(ordered[np.arange(wanted) * len(ordered) // max(wanted, 1)])


def png(picture: Image.Image) -> bytes:
    """Return the content of a PNG file of the picture."""
    stream = io.BytesIO()
    picture.save(stream, "png")
    return stream.getvalue()
