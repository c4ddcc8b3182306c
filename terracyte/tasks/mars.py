"""Martian terrain: one of k classes for each pixel of a grayscale image; class 0 is unlabelled background."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terracyte import paths
from terracyte.tasks.task import Task


class Mars(Task):
    """Semantic segmentation, scored by mean IoU over the classes but background."""

    name = "mars"
    dense = True
    background = 0
    headline = "mean_iou"

    def class_counts(self, manifest: pd.DataFrame) -> NDArray[np.int64]:
        """(n, k) pixels per class."""
        return manifest[[f"pixels_{k}" for k in range(len(self.classes))]].to_numpy(np.int64)

    def strata(self, manifest: pd.DataFrame) -> NDArray[np.int64]:
        """The rarest class (over all images) that an image holds: rare classes are kept in proportion first."""
        counts = self.class_counts(manifest)
        rarest_first = np.argsort(counts.sum(axis=0), kind="stable")
        return np.asarray(rarest_first[np.argmax(counts[:, rarest_first] > 0, axis=1)], np.int64)

    def targets(self, manifest: pd.DataFrame) -> NDArray[np.uint8]:
        """(n, h, w) masks, read from the raw form by id."""
        return np.asarray(np.load(paths.masks(self.name), mmap_mode="r")[manifest["id"].to_numpy()])

    def headline_score(self, confusion: NDArray[np.int64]) -> float:
        """Mean IoU over the scored classes, pixels of true background left out."""
        from terracyte import metrics

        return float(metrics.mean_iou(confusion, self.scored_classes))
