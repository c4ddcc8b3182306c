"""Scores on the validation split, by which epochs and variants are chosen."""

import dataclasses

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from terracyte.images.shift import copies
from terracyte.metrics.confusion import confusion_matrix
from terracyte.models.inference import predict
from terracyte.train import class_offsets
from terracyte.train.batches import Rows, one_hot
from terracyte.train.losses import WeightedCrossEntropy

_BATCH = 64  # images per step of numpy; no result depends on it


class Validation:
    """Scores a network on the validation split and, for tasks with corruptions, on a corrupted copy of it.

    Args:
        loss: its cross entropy is the validation loss.
        rows: of the validation split.
        batch_size: images per step.
    """

    def __init__(self, loss: WeightedCrossEntropy, rows: Rows, batch_size: int) -> None:
        self.loss, self.rows, self.batch_size = loss, rows, batch_size
        self.shifted: Rows | None = None
        if rows.task.corruptions:
            # the copy holds the images of these rows only, in memory
            images, ids = copies.validation_copy(rows.images, rows.ids, rows.task.corruptions), np.arange(len(rows))
            self.shifted = dataclasses.replace(rows, images=images, manifest=rows.manifest.assign(id=ids))

    def scores(self, model: keras.Model) -> dict[str, float]:
        """`val_loss`, `val_<headline>` and, for tasks with corruptions, the headline under shift and their mean."""
        task = self.rows.task
        val_loss, clean = validate(model, self.loss, self.rows, self.batch_size)
        values = {"val_loss": val_loss, f"val_{task.headline}": clean}
        if self.shifted is not None:
            _, under_shift = validate(model, self.loss, self.shifted, self.batch_size)
            values |= {f"val_{task.shift_headline}": under_shift, f"val_{task.selection}": (clean + under_shift) / 2}
        return values

    def offsets(self, model: keras.Model) -> NDArray[np.float32]:
        """(k,) offsets of the logits that maximise the score that chooses epochs; see `class_offsets`."""
        task, parts = self.rows.task, [rows for rows in (self.rows, self.shifted) if rows is not None]
        # half precision: the logits of all pixels are in memory at once
        logits = [
            np.concatenate([z.astype(np.float16) for z in predict(model, rows.images, rows.ids, self.batch_size)])
            for rows in parts
        ]

        def score(offsets: NDArray[np.float32]) -> float:
            return float(np.mean([_headline(rows, z, offsets) for rows, z in zip(parts, logits, strict=True)]))

        return class_offsets.fit(score, len(task.classes), task.scored_classes)


def _headline(rows: Rows, logits: NDArray[np.float16], offsets: NDArray[np.float32]) -> float:
    """The headline score of logits (n, k) or (n, h, w, k) with offsets (k,) added."""
    task, classes = rows.task, len(rows.task.classes)
    confusion = np.zeros((classes, classes), np.int64)
    for start in range(0, len(rows), _BATCH):
        batch = slice(start, start + _BATCH)
        prediction = task.predicted(task.decode(logits[batch] + offsets))
        confusion += confusion_matrix(rows.targets[batch], prediction, classes)
    return task.headline_score(confusion)


def validate(model: keras.Model, loss: WeightedCrossEntropy, rows: Rows, batch_size: int) -> tuple[float, float]:
    """Cross entropy (without penalties and overlap terms) and headline score of a network, without augmentation."""
    task, classes = rows.task, len(rows.task.classes)
    confusion = np.zeros((classes, classes), np.int64)
    total, weight, start = 0.0, 0.0, 0
    for logits in predict(model, rows.images, rows.ids, batch_size):
        truth = rows.targets[start : start + len(logits)]
        start += len(logits)
        sums = loss.sums(one_hot(truth, classes), ops.convert_to_tensor(logits))
        total, weight = total + float(sums[0]), weight + float(sums[1])
        prediction = task.predicted(task.decode(logits))
        confusion += confusion_matrix(truth, prediction, classes)
    return total / max(weight, 1.0), task.headline_score(confusion)
