"""Fits a network to a task: batches, loss, optimizer, early stopping, and going on after a kill."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray
from tqdm import tqdm

from terracyte import checkpoints, metrics, models
from terracyte.checkpoints import Epoch, Progress
from terracyte.data.batches import Rows, TrainingBatches, shares
from terracyte.errors import InputError
from terracyte.losses import WeightedCrossEntropy
from terracyte.models.problem import Problem
from terracyte.params import Config
from terracyte.tasks.task import Task

OnEpoch = Callable[[int, Epoch], None]

# The cosine schedule ends at this share of its peak.
_FINAL_RATE = 0.01


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fitted:
    """The result of a training.

    Attributes:
        model: with the weights of the best epoch; not compiled.
        best_epoch: counted from 1.
        history: per epoch `loss` (of the augmented batches, penalties included), `val_loss`,
            `val_<headline>` and `learning_rate` at its end.
    """

    model: keras.Model
    best_epoch: int
    history: list[Epoch]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fitting:
    """One training: everything that its result depends on, and where its progress is kept.

    Attributes:
        label: what error messages and the progress bar call it.
        config: the resolved configuration.
        training, validation: rows of the two splits.
        class_weights: (k,) of `balance`; see `loss_weights`.
        seed: of weights, order, augmentation and dropout.
        checkpoint: folder of the progress.
        on_epoch: receives the epoch's number (from 1) and values; after a restart it receives the epochs
            before it once more, so that a record begun anew is complete. `images_per_second` comes with
            epochs that were trained in this process only.
    """

    label: str
    config: Config
    training: Rows
    validation: Rows
    class_weights: Sequence[float]
    seed: int
    checkpoint: Path
    on_epoch: OnEpoch

    def run(self) -> Fitted:
        """Train to the last epoch, or until `patience` epochs bring no better validation headline.

        The same fitting gives the same weights, killed and restarted or not.

        Raises:
            InputError: the loss is no longer finite, or the checkpoint cannot be read.
        """
        model = self._compiled()
        progress = checkpoints.restore(self.checkpoint, model)
        for epoch, values in enumerate(progress.history, start=1):
            self.on_epoch(epoch, values)
        while not self._finished(model, progress):
            self._epoch(model, progress)
            checkpoints.write(self.checkpoint, model, progress)
        best = models.build(self.config, self._problem())
        best.set_weights(progress.best_weights)
        return Fitted(model=best, best_epoch=progress.best_epoch, history=progress.history)

    @property
    def _task(self) -> Task:
        return self.training.task

    @property
    def _headline(self) -> str:
        return f"val_{self._task.headline}"

    def _problem(self) -> Problem:
        counts = self._task.class_counts(self.training.manifest).sum(axis=0)
        return Problem(
            image_shape=self._task.image_shape,
            dense=self._task.dense,
            class_shares=tuple((counts / counts.sum()).tolist()),
        )

    def _compiled(self) -> keras.Model:
        make_repeatable(self.seed)
        model = models.build(self.config, self._problem())
        steps = len(TrainingBatches(self.training, self.config, self.seed, epoch=1))
        weights = loss_weights(self.config, self._task, self.class_weights)
        model.compile(
            optimizer(self.config, steps * self.config.epochs),
            WeightedCrossEntropy(weights, self.config.label_smoothing),
            # measured on 2 cores: XLA was the slower one in 5 of 6 pairs of runs
            jit_compile=False,
        )
        model.optimizer.build(model.trainable_variables)
        return model

    def _finished(self, model: keras.Model, progress: Progress) -> bool:
        done = len(progress.history)
        if not model.trainable_variables:
            return done == 1
        return done == self.config.epochs or done - progress.best_epoch >= self.config.patience

    def _epoch(self, model: keras.Model, progress: Progress) -> None:
        epoch = len(progress.history) + 1
        start = time.monotonic()
        if model.trainable_variables:
            loss, images = self._train(model, epoch)
        else:
            loss, images = validate(model, self.training, self.config.batch_size)[0], len(self.training)
        speed = images / (time.monotonic() - start)
        val_loss, headline = validate(model, self.validation, self.config.batch_size)
        # six digits: single precision holds no more
        rate = float(f"{float(ops.convert_to_numpy(model.optimizer.learning_rate)):.6g}")
        values = {"loss": loss, "val_loss": val_loss, self._headline: headline, "learning_rate": rate}
        self._check(epoch, values)
        progress.history.append(values)
        if headline > progress.history[progress.best_epoch - 1][self._headline] or epoch == 1:
            progress.best_epoch, progress.best_weights = epoch, model.get_weights()
        self.on_epoch(epoch, {**values, "images_per_second": speed})

    def _train(self, model: keras.Model, epoch: int) -> tuple[float, int]:
        batches = TrainingBatches(self.training, self.config, self.seed, epoch)
        title = f"{self.label} epoch {epoch}/{self.config.epochs}"
        callbacks = [EpochBar(title, len(batches)), keras.callbacks.TerminateOnNaN()]
        # one epoch per call: Keras would fetch the next epoch's first batches ahead of its beginning
        fitted = model.fit(batches, shuffle=False, verbose=0, callbacks=callbacks)
        return float(fitted.history["loss"][0]), len(batches) * batches.batch_size

    def _check(self, epoch: int, values: Epoch) -> None:
        if not (math.isfinite(values["loss"]) and math.isfinite(values["val_loss"])):
            raise InputError(
                f"{self.label}: the loss of epoch {epoch} is not finite (loss {values['loss']}, val_loss"
                f" {values['val_loss']}) with learning_rate {self.config.learning_rate:g}: lower learning_rate"
            )


def make_repeatable(seed: int) -> None:
    """Seed everything that Keras draws from, and choose kernels that give the same sums each time."""
    # also restarts the numbering of layers, whose names go into the saved model
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        # Keras has no switch of its own for this; other backends are repeatable on a processor anyway
        tensorflow.config.experimental.enable_op_determinism()


def loss_weights(config: Config, task: Task, balanced: Sequence[float]) -> list[float]:
    """(k,) weights of the classes in the loss.

    Args:
        config: `class_weights` and `ignore_background` matter.
        task: whose background weighs 1, the mean of the others, or nothing.
        balanced: (k,) weights of `balance`, with a mean of 1 over the scored classes.
    """
    weights = [float(weight) if config.class_weights else 1.0 for weight in balanced]
    if task.background is not None:
        weights[task.background] = 0.0 if config.ignore_background else 1.0
    return weights


def optimizer(config: Config, steps: int) -> keras.optimizers.Optimizer:
    """Lion (arXiv 2302.06675) or AdamW (arXiv 1711.05101); biases and normalisations do not decay.

    Args:
        config: `optimizer`, `learning_rate`, `schedule`, `warmup`, `beta_1`, `beta_2` and `weight_decay` matter.
        steps: of the whole training.
    """
    rate: Any = config.learning_rate
    if config.schedule == "cosine":
        rate = _cosine(config.learning_rate, steps, round(config.warmup * steps))
    kinds = {"lion": keras.optimizers.Lion, "adamw": keras.optimizers.AdamW}
    chosen = kinds[config.optimizer](rate, beta_1=config.beta_1, beta_2=config.beta_2, weight_decay=config.weight_decay)
    chosen.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return chosen


def _cosine(peak: float, steps: int, warmup: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """A linear rise from 0 over `warmup` steps, then half a cosine (arXiv 1608.03983) over the others."""
    decay = keras.optimizers.schedules.CosineDecay
    if warmup == 0:
        return decay(peak, steps, alpha=_FINAL_RATE)
    return decay(0.0, steps - warmup, alpha=_FINAL_RATE, warmup_target=peak, warmup_steps=warmup)


def predict(
    model: keras.Model, images: NDArray[np.uint8], ids: NDArray[np.int64], batch_size: int
) -> Iterator[NDArray[np.float32]]:
    """Logits of chosen images, batch by batch, so that neither images nor logits fill the memory.

    Args:
        model: see `terracyte.models`.
        images: (N, h, w, c) uint8, memory-mapped.
        ids: (n,) places of the images to predict, in order.
        batch_size: images per step; the last batch may hold fewer.

    Yields:
        (b, k) or (b, h, w, k) float32.
    """
    # XLA would compile the network anew for the last batch
    model.jit_compile = False
    for start in range(0, len(ids), batch_size):
        batch = images[ids[start : start + batch_size]].astype(np.float32)
        yield np.asarray(model.predict_on_batch(batch))


def validate(model: keras.Model, rows: Rows, batch_size: int) -> tuple[float, float]:
    """Loss (penalties left out) and headline of a compiled model on rows as they are, without augmentation."""
    task, classes = rows.task, len(rows.task.classes)
    confusion = np.zeros((classes, classes), np.int64)
    total, weight, start = 0.0, 0.0, 0
    for logits in predict(model, rows.images, rows.ids, batch_size):
        truth = rows.targets[start : start + len(logits)]
        start += len(logits)
        sums = model.loss.sums(shares(truth, classes), ops.convert_to_tensor(logits))
        total, weight = total + float(sums[0]), weight + float(sums[1])
        prediction = task.predicted(task.decode(logits))
        confusion += metrics.confusion_matrix(truth, prediction, classes)
    return total / max(weight, 1.0), task.headline_score(confusion)


class EpochBar(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """A progress bar of one epoch's batches, on terminals only; it leaves no line behind."""

    def __init__(self, title: str, batches: int) -> None:
        super().__init__()
        self.bar = tqdm(total=batches, desc=title, unit="batch", leave=False, disable=None)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Advance, and show the epoch's mean loss so far."""
        self.bar.set_postfix(loss=f"{(logs or {}).get('loss', math.nan):.4f}", refresh=False)
        self.bar.update()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Take the bar away."""
        self.bar.close()
