"""Read the files exactly as the two challenges provide them.

Tasks with labels: `images` (n, h, w, c) and `labels` (n,) or (n, 1).
Tasks with masks: `training_set` (n, 2, h, w), `[:, 0]` the grey image and `[:, 1]` its mask, and `test_set`
(n, h, w), grey images whose masks are withheld. With c > 1 channels they are (n, c + 1, h, w) and (n, c, h, w).
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from terracyte.ingest.sources import npz_file
from terracyte.ingest.sources.arrays import expect_shape, full_scale, row_names, to_pixels
from terracyte.ingest.sources.npz import members, names
from terracyte.ingest.sources.source import Batch
from terracyte.params import Source
from terracyte.tasks.task import Task


def read(task: Task, source: Source) -> Iterator[Batch]:
    """Read a challenge's .npz file in chunks.

    Raises:
        InputError: the file is missing, damaged, or not of the form above; a pixel is NaN or out of range.
    """
    path = Path(source.path)
    if task.dense:
        return _masked(task, path)
    images, labels = members(path, "images", "labels")
    expect_shape(images, None, *task.image_shape)
    return npz_file.batches(task, source, [npz_file.Pair(split="", images=images, targets=labels)])


def unlabelled(task: Task, source: Source) -> Iterator[NDArray[np.uint8]]:
    """Read `test_set` in chunks (b, h, w, c); yield nothing if there is none, as for tasks with labels.

    Raises:
        InputError: the file is damaged, the array is not of the form above, or a pixel is NaN or out of range.
    """
    path = Path(source.path)
    if not task.dense or "test_set" not in names(path):
        return
    (images,) = members(path, "test_set")
    height, width, channels = task.image_shape
    expect_shape(images, None, *[channels] * (channels > 1), height, width)
    scale = full_scale(task, images, images.chunks())
    for first, chunk in images.chunks():
        yield to_pixels(images, chunk, scale, first).reshape(-1, channels, height, width).transpose(0, 2, 3, 1)


def _masked(task: Task, path: Path) -> Iterator[Batch]:
    (pairs,) = members(path, "training_set")
    height, width, channels = task.image_shape
    expect_shape(pairs, None, 1 + channels, height, width)
    scale = full_scale(task, pairs, ((first, chunk[:, :-1]) for first, chunk in pairs.chunks()))
    for first, chunk in pairs.chunks():
        yield Batch(
            images=to_pixels(pairs, chunk[:, :-1].transpose(0, 2, 3, 1), scale, first),
            masks=chunk[:, -1],
            names=row_names(pairs, first, len(chunk)),
            total=len(pairs),
        )
