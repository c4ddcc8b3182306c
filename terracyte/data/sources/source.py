"""What every source gives: batches of raw images in one form."""

import dataclasses
from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from terracyte.params import Source
from terracyte.tasks.task import Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch:
    """b raw images with their targets, in the order of the source.

    Attributes:
        images: (b, h, w, c) uint8, 0-255.
        labels: (b,) int64, one class per image; None for tasks with masks.
        masks: (b, h, w) uint8, one class per pixel; None for tasks with labels.
        names: where each image came from, readable and unique: a file's path or `training_set[17]`.
        groups: images of one declared group (patient, site) share a text; None where nothing is declared.
        defects: what was planted in each image ("" for nothing); only the sample knows.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None = None
    masks: NDArray[np.uint8] | None = None
    names: list[str]
    groups: list[str] | None = None
    defects: list[str] | None = None


class Reader(Protocol):
    """Reads a source batch by batch.

    Raises InputError with one line that names the file, the place in it, the value and what to do.
    """

    def __call__(self, task: Task, source: Source) -> Iterator[Batch]: ...
