"""Confusion matrices of the test split, by training seed and group of test images.

Intervals, differences and paired tests need nothing else, so tables are made again from them without images; git holds
them, some kilobytes per row.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terracyte.core import files
from terracyte.evaluate.predictions import SHIFT, Kept
from terracyte.metrics.confusion import Counts, grouped_confusions
from terracyte.tasks.task import Task

_CLEAN = "confusions"


def confusions(task: Task, rows: pd.DataFrame, kept: Sequence[Kept]) -> Counts:
    """(seeds, groups, k, k) confusion matrices of several models' predictions of the same rows."""
    truth, group = task.targets(rows), rows["group"].to_numpy(np.int64)
    return np.stack([grouped_confusions(truth, task.predicted(one), group, len(task.classes)) for one in kept])


def shifted_confusions(task: Task, rows: pd.DataFrame, kept: Sequence[Kept]) -> Counts:
    """(seeds, groups, k, k) of the copies under shift, summed over corruptions, for tasks that have any."""
    truth, group = repeated(task, task.targets(rows)), rows["group"].to_numpy(np.int64)
    predicted = [task.predicted(under_shift(one)) for one in kept]
    return np.stack([grouped_confusions(truth, one, group, len(task.classes)) for one in predicted])


def repeated(task: Task, truth: NDArray[Any]) -> NDArray[Any]:
    """(n, ...) → (n, corruptions, ...), the truth of each copy under shift."""
    return np.stack([truth] * len(task.corruptions), axis=1)


def under_shift(kept: Kept) -> Kept:
    """What was kept of the copies under shift, (n, corruptions, ...) each."""
    return {name.removeprefix(SHIFT): array for name, array in kept.items() if name.startswith(SHIFT)}


def compact(task: Task, rows: pd.DataFrame, kept: Sequence[Kept]) -> dict[str, NDArray[Any]]:
    """The arrays of a file of confusion matrices: `confusions` (seeds, groups, k, k) in the smallest integers that
    hold them."""
    found = confusions(task, rows, kept)
    return {_CLEAN: found.astype(np.min_scalar_type(int(found.max())))}


def read(path: Path) -> Counts:
    """(seeds, groups, k, k) int64, groups in ascending order of their number."""
    return files.read_arrays(path, [_CLEAN])[_CLEAN].astype(np.int64)
