"""Writes the submission of a task with masks: a CSV file of predicted pixels, one row per image."""

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
    """Predict the images without masks and write a CSV file; background is never predicted.

    The column `id` counts the images from 0, in their order; the columns `0`, `1` … are the pixels, row by row.

    Args:
        task: the task to submit.
        model: the trained model's file.
        path: the CSV file; if the source has no images without masks, it holds its header only.

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
    """Yield predicted masks (h, w) in the order of the images."""
    if not paths.unlabelled(task.name).exists():
        return
    images = files.map_array(paths.unlabelled(task.name))
    inference.make_repeatable(0)  # deterministic kernels
    batches = inference.predict(read_model(model), images, np.arange(len(images)), _BATCH)
    for logits in tqdm(batches, "submission", math.ceil(len(images) / _BATCH), unit="batch", disable=None):
        yield from task.predicted(task.decode(logits))
