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
        groups: images of one declared group (patient, site) share a text; None where nothing is declared.
        splits: the split that the source gives each image (`terracyte.core.splits`); None where it gives none.
        defects: what was planted in each image ("" for nothing); only the sample knows.
        total: images in all batches of the source, for the progress bar; None where it is not known.
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
    """What the module of a source offers.

    Both functions raise InputError with one line that names the file, the place in it, the value and what to do.
    """

    def read(self, task: Task, source: Source) -> Iterator[Batch]:
        """Images with their targets, batch by batch."""

    def unlabelled(self, task: Task, source: Source) -> Iterator[NDArray[np.uint8]]:
        """Images (b, h, w, c), 0-255, whose targets a challenge withholds; nothing where the source has none."""
