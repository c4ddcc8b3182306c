"""Blood cells: one of k classes for each RGB image."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terracyte.tasks.task import Task


class Blood(Task):
    """Classification, scored by accuracy."""

    name = "blood"
    dense = False
    background = None
    headline = "accuracy"

    def class_counts(self, manifest: pd.DataFrame) -> NDArray[np.int64]:
        """(n, k) one-hot."""
        one_hot = np.eye(len(self.classes), dtype=np.int64)
        return np.asarray(one_hot[manifest["label"].to_numpy()])

    def strata(self, manifest: pd.DataFrame) -> NDArray[np.int64]:
        """The class itself."""
        return manifest["label"].to_numpy(np.int64)

    def targets(self, manifest: pd.DataFrame) -> NDArray[np.int64]:
        """(n,) labels."""
        return manifest["label"].to_numpy(np.int64)

    def headline_score(self, confusion: NDArray[np.int64]) -> float:
        """Share of images on the diagonal."""
        from terracyte import metrics

        return float(metrics.accuracy(confusion))
