"""Scores on the validation split, by which epochs and variants are chosen."""

import dataclasses

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from terracyte.images.shift import copies
from terracyte.metrics import confusion as metrics
from terracyte.models import test_time_flips
from terracyte.models.inference import predict
from terracyte.params.variant import Config
from terracyte.train import class_offsets as offsets_of
from terracyte.train.batches import Rows, shares
from terracyte.train.losses import WeightedCrossEntropy

_BATCH = 64  # images per step of numpy; no result depends on it


class Validation:
    """Scores networks, time and again while their weights change.

    Args:
        loss: of which the cross entropy is taken.
        rows: of the validation split.
        batch_size: images per step.
    """

    def __init__(self, loss: WeightedCrossEntropy, rows: Rows, batch_size: int) -> None:
        self.loss, self.rows, self.batch_size = loss, rows, batch_size
        self.shifted = shifted(rows) if rows.task.corruptions else None

    def scores(self, model: keras.Model) -> dict[str, float]:
        """`val_loss`, `val_<headline>` and, for tasks with corruptions, the headline under shift and their mean."""
        task = self.rows.task
        val_loss, clean = validate(model, self.loss, self.rows, self.batch_size)
        values = {"val_loss": val_loss, f"val_{task.headline}": clean}
        if self.shifted is not None:
            worse = validate(model, self.loss, self.shifted, self.batch_size)[1]
            values |= {f"val_{task.shift_headline}": worse, f"val_{task.selection}": (clean + worse) / 2}
        return values

    def offsets(self, model: keras.Model) -> NDArray[np.float32]:
        """(k,) offsets of the logits that raise what epochs and variants are chosen by; see `class_offsets`."""
        task, shown = self.rows.task, [rows for rows in (self.rows, self.shifted) if rows is not None]
        # half precision: the logits of all pixels are in memory at once
        logits = [self._logits(model, rows) for rows in shown]

        def score(offsets: NDArray[np.float32]) -> float:
            return float(np.mean([_headline(rows, part, offsets) for rows, part in zip(shown, logits, strict=True)]))

        return offsets_of.fit(score, len(task.classes), task.scored_classes)

    def _logits(self, model: keras.Model, rows: Rows) -> NDArray[np.float16]:
        parts = predict(model, rows.images, rows.ids, self.batch_size)
        return np.concatenate([part.astype(np.float16) for part in parts])


def _headline(rows: Rows, logits: NDArray[np.float16], offsets: NDArray[np.float32]) -> float:
    task, classes = rows.task, len(rows.task.classes)
    confusion = np.zeros((classes, classes), np.int64)
    for start in range(0, len(rows), _BATCH):
        part = slice(start, start + _BATCH)
        prediction = task.predicted(task.decode(logits[part] + offsets))
        confusion += metrics.confusion_matrix(rows.targets[part], prediction, classes)
    return task.headline_score(confusion)


def as_used(model: keras.Model, config: Config) -> keras.Model:
    """The model that predicts: with `test_time_flips` it averages over mirror images."""
    return test_time_flips.averaged(model, config.flip) if config.test_time_flips else model


def shifted(rows: Rows) -> Rows:
    """The rows with the validation copy of the shift as their images, in memory."""
    images = copies.validation_copy(rows.images, rows.ids)
    return dataclasses.replace(rows, images=images, manifest=rows.manifest.assign(id=np.arange(len(rows))))


def validate(model: keras.Model, loss: WeightedCrossEntropy, rows: Rows, batch_size: int) -> tuple[float, float]:
    """Cross entropy (penalties and overlap terms left out) and headline, without augmentation."""
    task, classes = rows.task, len(rows.task.classes)
    confusion = np.zeros((classes, classes), np.int64)
    total, weight, start = 0.0, 0.0, 0
    for logits in predict(model, rows.images, rows.ids, batch_size):
        truth = rows.targets[start : start + len(logits)]
        start += len(logits)
        sums = loss.sums(shares(truth, classes), ops.convert_to_tensor(logits))
        total, weight = total + float(sums[0]), weight + float(sums[1])
        prediction = task.predicted(task.decode(logits))
        confusion += metrics.confusion_matrix(truth, prediction, classes)
    return total / max(weight, 1.0), task.headline_score(confusion)
