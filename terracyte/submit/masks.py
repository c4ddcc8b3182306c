"""The submission of a task with masks: a CSV file of predicted pixels, one row per image."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from terracyte.core import files, paths
from terracyte.models import inference
from terracyte.models.serialization import read_model
from terracyte.tasks.task import Task

_BATCH = 64  # images per step; no result depends on it


def write(task: Task, model: Path, path: Path) -> int:
    """Predict the images without masks; background is never predicted.

    The file has a column `id`, from 0 in the order of the images, and one per pixel, row by row: `0`, `1` …

    Args:
        task: whose.
        model: file of the trained model.
        path: of the CSV file; where the source has no images without masks, it gets its header only.

    Returns:
        The number of images.
    """
    height, width, _ = task.image_shape
    rows = 0
    with files.atomic(path) as temporary, temporary.open("w", encoding="ascii", newline="\n") as stream:
        stream.write(",".join(["id", *map(str, range(height * width))]) + "\n")
        for mask in _predicted(task, model):
            stream.write(",".join(map(str, [rows, *mask.ravel().tolist()])) + "\n")
            rows += 1
    return rows


def _predicted(task: Task, model: Path) -> Iterator[NDArray[Any]]:
    """Yield masks (h, w) in the order of the images."""
    if not paths.unlabelled(task.name).exists():
        return
    images = files.map_array(paths.unlabelled(task.name))
    inference.make_repeatable(0)  # kernels that give the same sums each time
    batches = inference.predict(read_model(model), images, np.arange(len(images)), _BATCH)
    for logits in tqdm(batches, "submission", math.ceil(len(images) / _BATCH), unit="batch", disable=None):
        yield from task.predicted(task.decode(logits))
