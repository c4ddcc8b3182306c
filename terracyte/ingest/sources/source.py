"""What every source gives: batches of raw images in one form."""

import dataclasses
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from terracyte.params import Source
from terracyte.tasks.task import Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch:
    """b raw images with their targets, in the order of the source.

    Labels and masks may have any integer or float type: `terracyte.ingest.raw` refuses what is no class.

    Attributes:
        images: (b, h, w, c) uint8, 0-255.
        labels: (b,), one class per image; None for tasks with masks.
        masks: (b, h, w), one class per pixel; None for tasks with labels.
        names: where each image came from, readable and unique: a file's path or `training_set[17]`.
        groups: the declared group (patient, site) of each image, "" for none; None if no groups are declared.
        splits: the split that the source gives each image (`terracyte.core.splits`); None if it gives none.
        defects: the defect planted in each image ("" for none); only the sample knows it.
        total: number of images in all batches of the source, for the progress bar; None if unknown.
    """

    images: NDArray[np.uint8]
    labels: NDArray[Any] | None = None
    masks: NDArray[Any] | None = None
    names: list[str]
    groups: list[str] | None = None
    splits: list[str] | None = None
    defects: list[str] | None = None
    total: int | None = None


class Reader(Protocol):
    """The interface of a source's module.

    Both functions raise InputError with one line that names the file, the place in it, the value and what to do.
    """

    def read(self, task: Task, source: Source) -> Iterator[Batch]:
        """Read images with their targets, batch by batch."""

    def unlabelled(self, task: Task, source: Source) -> Iterator[NDArray[np.uint8]]:
        """Read images (b, h, w, c), 0-255, whose targets a challenge withholds; yield nothing if there are none."""
