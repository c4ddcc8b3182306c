"""Segmentation: one of k classes for each pixel; one of them may be background, which is not labelled."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terracyte.core import files, paths
from terracyte.metrics import confusion as metrics
from terracyte.tasks.task import Task


class Segmentation(Task):
    """One class for each pixel, scored by mean IoU over the classes but background."""

    dense = True
    headline = "mean_iou"
    other_scores = ("course_mean_iou", "pixel_accuracy", "boundary_iou")
    class_headline = "iou"

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
        return np.asarray(files.map_array(paths.masks(self.name))[manifest["id"].to_numpy()])

    def headline_scores(self, confusions: NDArray[np.int64]) -> NDArray[np.float64]:
        """Mean IoU over the scored classes, pixels of true background left out."""
        return metrics.mean_iou(confusions, self.scored_classes)

    def decode(self, logits: NDArray[np.floating[Any]]) -> dict[str, NDArray[Any]]:
        """Masks (b, h, w) uint8: `prediction` among the scored classes, `free` among all of them."""
        scored = np.array(self.scored_classes, np.uint8)
        return {
            "prediction": scored[logits[..., scored].argmax(axis=-1)],
            "free": logits.argmax(axis=-1).astype(np.uint8),
        }

    def predicted(self, kept: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """(n, h, w) masks without background."""
        return kept["prediction"]

    def scores(self, truth: NDArray[Any], kept: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        """Mean IoU, pixel accuracy and boundary IoU without background; the course's mean IoU, free to predict it."""
        classes = len(self.classes)
        confusion = metrics.confusion_matrix(truth, self.predicted(kept), classes)
        free = metrics.confusion_matrix(truth, kept["free"], classes)
        return {
            "mean_iou": self.headline_score(confusion),
            "course_mean_iou": float(metrics.course_mean_iou(free, self.background)),
            "pixel_accuracy": float(metrics.accuracy(metrics.labelled(confusion, self.scored_classes))),
            "boundary_iou": metrics.boundary_iou(truth, self.predicted(kept), self.scored_classes),
        }

    def class_scores(self, confusion: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        """IoU, recall and precision, pixels of true background left out."""
        scored = metrics.labelled(confusion, self.scored_classes)
        return {
            "iou": metrics.iou(scored),
            "recall": metrics.recall(scored),
            "precision": metrics.precision(scored),
        }

    def difficulty(self, truth: NDArray[Any], kept: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """Share of the image's pixels that are labelled and predicted wrongly."""
        wrong = (truth != self.background) & (truth != self.predicted(kept))
        return np.asarray(wrong.mean(axis=(1, 2)))
