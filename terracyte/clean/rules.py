"""What a cleaning rule is given, and what it returns."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terracyte.params import Clean
from terracyte.tasks.task import Task

NO_TWIN = -1  # no row is kept in place of a dropped one


@dataclasses.dataclass(frozen=True)
class Raw:
    """A task's pixels.

    Attributes:
        task: the task the images belong to.
        images: (N, h, w, c) uint8, indexed by `id`; may be memory-mapped.
        masks: (N, h, w) uint8; None for tasks with labels.
    """

    task: Task
    images: NDArray[np.uint8]
    masks: NDArray[np.uint8] | None = None

    @property
    def target(self) -> str:
        """Name of the manifest's column in which equal values mean equal ground truth."""
        return "mask_hash" if self.task.dense else "label"


# (pixels, rows of the manifest that no earlier rule dropped, settings) → the rows to drop: their ids as index, and
# as values the ids of the rows kept in their place, or NO_TWIN.
Rule = Callable[[Raw, pd.DataFrame, Clean], pd.Series]


def drop_all(rows: pd.DataFrame) -> pd.Series:
    """Return the verdict that drops all `rows` and keeps none in their place."""
    return pd.Series(NO_TWIN, index=rows["id"].to_numpy())
