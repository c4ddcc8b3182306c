"""The protocol of a task: all that differs between classification and segmentation stands behind it.

No stage branches on a task's name; it asks the task.
"""

import abc
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terracyte.params import TaskSpec


class Task(abc.ABC):
    """One set of images with its classes.

    Attributes:
        name: as params.yaml calls it; a part of every path of its files.
        spec: its description in params.yaml.
        classes: class names in the order of their labels; k of them.
        image_shape: (h, w, c) in pixels.
        dense: True where each pixel has a class (masks), False where each image has one (labels).
        background: label of the class that is neither scored nor ever predicted; None for none.
        headline: name of the score by which variants are compared.
        shift_headline: name of the same score under `corruptions`; None without them.
        selection: name of the validation score by which epochs and variants are chosen: the headline, or its
            mean with the one under shift.
        corruptions: names of the corruptions under which a model is scored as well; see `images.shift.corruptions`.
        other_scores: names of the further overall scores.
        class_headline: name of the score of a single class that tables show.
    """

    dense: bool
    headline: str
    other_scores: tuple[str, ...]
    class_headline: str

    def __init__(self, name: str, spec: TaskSpec) -> None:
        self.name = name
        self.spec = spec
        self.classes = spec.classes
        self.image_shape = (spec.height, spec.width, spec.channels)
        self.background = None if spec.background is None else spec.classes.index(spec.background)
        self.corruptions = spec.corruptions

    @property
    def shift_headline(self) -> str | None:
        """The headline under `corruptions`."""
        return f"shift_{self.headline}" if self.corruptions else None

    @property
    def selection(self) -> str:
        """What chooses epochs and variants on the validation split."""
        return f"robust_{self.headline}" if self.corruptions else self.headline

    @property
    def scored_classes(self) -> tuple[int, ...]:
        """Labels that count in the headline and that may be predicted."""
        return tuple(k for k in range(len(self.classes)) if k != self.background)

    @abc.abstractmethod
    def class_counts(self, manifest: pd.DataFrame) -> NDArray[np.int64]:
        """(n, k): how much of each class each image holds, in pixels (segmentation) or as 0/1."""

    @abc.abstractmethod
    def strata(self, manifest: pd.DataFrame) -> NDArray[np.int64]:
        """(n,): the stratum of each image that splits keep in proportion."""

    @abc.abstractmethod
    def targets(self, manifest: pd.DataFrame) -> NDArray[Any]:
        """Ground truth of the manifest's rows, in their order: (n,) int64 or (n, h, w) uint8."""

    @abc.abstractmethod
    def headline_scores(self, confusions: NDArray[np.int64]) -> NDArray[np.float64]:
        """(..., k, k) confusion matrices (rows: truth, columns: prediction) → (...) headlines, 0-1."""

    def headline_score(self, confusion: NDArray[np.int64]) -> float:
        """The headline from one (k, k) confusion matrix (rows: truth, columns: prediction), 0-1."""
        return float(self.headline_scores(confusion))

    @abc.abstractmethod
    def decode(self, logits: NDArray[np.floating[Any]]) -> dict[str, NDArray[Any]]:
        """What is kept of a model's output (b, ..., k): named arrays with one row per image."""

    @abc.abstractmethod
    def predicted(self, kept: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """Predicted labels, in the shape of `targets`, from what `decode` kept; never background."""

    @abc.abstractmethod
    def scores(self, truth: NDArray[Any], kept: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        """The headline and the other scores of what `decode` kept, against `targets`."""

    @abc.abstractmethod
    def class_scores(self, confusion: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        """Scores of the single classes by name, each (k,), from a (k, k) confusion matrix."""

    @abc.abstractmethod
    def difficulty(self, truth: NDArray[Any], kept: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """(n,): how wrong each image's prediction is, 0 (right) to 1."""
