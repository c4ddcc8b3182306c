"""Classification: one of k classes for each image."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terracyte.metrics import confusion as metrics
from terracyte.tasks.task import Task


class Classification(Task):
    """One class for each image, scored by accuracy."""

    dense = False
    headline = "accuracy"
    other_scores = ("balanced_accuracy", "macro_f1", "expected_calibration_error")
    class_headline = "recall"

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

    def headline_scores(self, confusions: NDArray[np.int64]) -> NDArray[np.float64]:
        """Share of images on the diagonal."""
        return metrics.accuracy(confusions)

    def decode(self, logits: NDArray[np.floating[Any]]) -> dict[str, NDArray[Any]]:
        """`probabilities` (b, k) float32: the softmax of the logits."""
        # scipy.special.softmax rounds otherwise, which would change stored predictions; and training needs no scipy
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True), dtype=np.float64)
        return {"probabilities": (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)}

    def predicted(self, kept: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """(n,) the most probable class."""
        return np.asarray(kept["probabilities"].argmax(axis=-1))

    def scores(self, truth: NDArray[Any], kept: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        """Accuracy, balanced accuracy, macro F1 and the expected calibration error (lower is better)."""
        confusion = metrics.confusion_matrix(truth, self.predicted(kept), len(self.classes))
        return {
            "accuracy": float(metrics.accuracy(confusion)),
            "balanced_accuracy": float(metrics.balanced_accuracy(confusion)),
            "macro_f1": float(metrics.macro_f1(confusion)),
            "expected_calibration_error": metrics.expected_calibration_error(kept["probabilities"], truth),
        }

    def class_scores(self, confusion: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        """Recall, precision and F1."""
        return {
            "recall": metrics.recall(confusion),
            "precision": metrics.precision(confusion),
            "f1": metrics.f1(confusion),
        }

    def difficulty(self, truth: NDArray[Any], kept: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """The probability that is missing from the true class."""
        of_truth = kept["probabilities"][np.arange(len(truth)), truth]
        return np.asarray(1 - of_truth.astype(np.float64))
