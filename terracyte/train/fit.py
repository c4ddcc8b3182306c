"""The training loop: batches, loss, phases, early stopping, checkpoints, and resuming after a kill."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
from keras import ops
from tqdm import tqdm

from terracyte import models
from terracyte.core.errors import InputError
from terracyte.models import test_time_flips, transfer
from terracyte.models.fused_normalisation import fusing
from terracyte.models.inference import make_repeatable
from terracyte.models.precision import computing_in
from terracyte.models.problem import Problem
from terracyte.params.variant import Config
from terracyte.tasks.task import Task
from terracyte.train import checkpoints, class_offsets, data_parallel, losses, optimizers, phases
from terracyte.train.batches import Rows, TrainingBatches
from terracyte.train.checkpoints import Epoch, Progress
from terracyte.train.losses import WeightedCrossEntropy
from terracyte.train.phases import Phase
from terracyte.train.validation import Validation, validate
from terracyte.train.weight_averaging import WeightAverage

OnEpoch = Callable[[int, Epoch], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fitted:
    """The result of a training.

    Attributes:
        model: with the weights of the best epoch, test-time flips and class offsets; not compiled.
        scores: of `model`, see `Validation.scores`.
        best_epoch: counted from 1.
        history: per epoch `loss` (of the augmented batches, penalties included), `Validation.scores`, and
            `learning_rate` at its end.
        seconds: duration of all epochs, including those before a restart.
    """

    model: keras.Model
    scores: Epoch
    best_epoch: int
    history: list[Epoch]
    seconds: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fitting:
    """One training: everything that its result depends on, and the folder of its checkpoints.

    Attributes:
        label: its name in error messages and the progress bar.
        config: the resolved configuration.
        training, validation: rows of the two splits.
        class_weights: (k,) of `balance`; see `loss_weights`.
        pretrained: weights of the backbone; None starts from random ones.
        seed: of weights, order, augmentation and dropout.
        checkpoint: folder of the checkpoints.
        on_epoch: called with the number (from 1) and the values of each epoch; after a restart also with those of the
            earlier epochs, so that a new record is complete. Only epochs that were trained in this process have
            `images_per_second`.
        data_parallel: whether each batch is split among all devices; see `terracyte.train.data_parallel`.
    """

    label: str
    config: Config
    training: Rows
    validation: Rows
    class_weights: Sequence[float]
    pretrained: Path | None
    seed: int
    checkpoint: Path
    on_epoch: OnEpoch
    data_parallel: bool = False

    def run(self) -> Fitted:
        """Train to the last epoch, or until `patience` epochs of the last phase bring no better `val_<selection>`.

        The same fitting gives the same weights, killed and restarted or not.

        Raises:
            InputError: the loss is no longer finite, or the checkpoint cannot be read.
        """
        make_repeatable(self.seed)
        validation = Validation(self._loss(), self.validation, self.config.batch_size)
        with data_parallel.distributed(self.config.batch_size) if self.data_parallel else contextlib.nullcontext():
            progress = self._run_epochs(validation)
        network = models.build(self.config, self._problem())
        network.set_weights(progress.best_weights)
        model = test_time_flips.averaged(network, self.config.flip) if self.config.test_time_flips else network
        if self.config.class_offsets and network.trainable_variables:
            class_offsets.add(network, validation.offsets(model))
        return Fitted(
            model=model,
            scores=self._scores(validation, model, progress),
            best_epoch=progress.best_epoch,
            history=progress.history,
            seconds=progress.seconds,
        )

    def _scores(self, validation: Validation, model: keras.Model, progress: Progress) -> Epoch:
        """Those of the finished model; where it is the network as its best epoch was scored, they are known."""
        config = self.config
        # epochs are scored without test-time flips, which take up to eight passes, and in their own precision
        if config.test_time_flips or config.class_offsets or config.precision != "float32":
            return validation.scores(model)
        best = progress.history[progress.best_epoch - 1]
        return {name: value for name, value in best.items() if name.startswith("val_")}

    def _run_epochs(self, validation: Validation) -> Progress:
        """Resume from the newest checkpoint, if any, and train the remaining epochs."""
        with computing_in(self.config.precision), fusing():
            model = models.build(self.config, self._problem())
        average = WeightAverage(model, self.config.weight_averaging) if self.config.weight_averaging else None
        # the checkpoint holds the state of the optimizer of its last epoch's phase
        self._compile(model, self._phase(max(checkpoints.finished_epochs(self.checkpoint), 1)))
        progress = checkpoints.restore(self.checkpoint, model, average)
        for epoch, values in enumerate(progress.history, start=1):
            self.on_epoch(epoch, values)
        while not self._finished(model, progress):
            self._run_epoch(model, average, validation, progress)
            if data_parallel.rank() == 0:
                checkpoints.write(self.checkpoint, model, average, progress)
        return progress

    @property
    def _task(self) -> Task:
        return self.training.task

    def _problem(self) -> Problem:
        counts = self._task.class_counts(self.training.manifest).sum(axis=0)
        return Problem(
            image_shape=self._task.image_shape,
            dense=self._task.dense,
            class_shares=tuple((counts / counts.sum()).tolist()),
            pretrained=self.pretrained,
        )

    def _loss(self) -> WeightedCrossEntropy:
        return losses.make(self.config, loss_weights(self.config, self._task, self.class_weights), self._task.dense)

    def _phase(self, epoch: int) -> Phase:
        plan = phases.plan(self.config, self.pretrained is not None)
        return next(phase for phase in reversed(plan) if phase.first <= epoch)

    def _compile(self, model: keras.Model, phase: Phase) -> None:
        if phase.share is not None:
            transfer.set_trainable_share(model, phase.share)
        steps = len(TrainingBatches(self.training, self.config, self.seed, epoch=1))
        # measured on 2 cores: XLA was the slower one in 5 of 6 pairs of runs
        model.compile(optimizers.make(self.config, phase.rate, steps * phase.epochs), self._loss(), jit_compile=False)
        model.optimizer.build(model.trainable_variables)

    def _finished(self, model: keras.Model, progress: Progress) -> bool:
        done = len(progress.history)
        if not model.trainable_variables:
            return done == 1
        # patience starts anew with the last phase
        stale = done - max(progress.best_epoch, self._phase(self.config.epochs).first - 1)
        return done == self.config.epochs or stale >= self.config.patience

    def _run_epoch(
        self, model: keras.Model, average: WeightAverage | None, validation: Validation, progress: Progress
    ) -> None:
        epoch, start = len(progress.history) + 1, time.monotonic()
        phase = self._phase(epoch)
        if epoch == phase.first > 1:
            self._compile(model, phase)
        if model.trainable_variables:
            loss, images = self._train(model, average, epoch)
        else:
            loss, _ = validate(model, self._loss(), self.training, self.config.batch_size)
            images = len(self.training)
        speed = images / (time.monotonic() - start)
        with average.applied() if average else contextlib.nullcontext():
            with data_parallel.undistributed(model) as copy:
                values = {"loss": loss, **validation.scores(copy), "learning_rate": _learning_rate(model)}
            self._check_finite(epoch, values)
            progress.add(values, f"val_{self._task.selection}", model)
        progress.seconds += time.monotonic() - start
        self.on_epoch(epoch, {**values, "images_per_second": speed})

    def _train(self, model: keras.Model, average: WeightAverage | None, epoch: int) -> tuple[float, int]:
        batches = TrainingBatches(self.training, self.config, self.seed, epoch)
        title = f"{self.label} epoch {epoch}/{self.config.epochs}"
        callbacks = [EpochBar(title, len(batches)), keras.callbacks.TerminateOnNaN()]
        if average is not None:
            callbacks.append(average)
        # one epoch per call: Keras would prepare the first batches of the next epoch before this one ends
        shard = data_parallel.Shard(batches) if self.data_parallel else batches
        fitted = model.fit(shard, shuffle=False, verbose=0, callbacks=callbacks)
        return float(fitted.history["loss"][0]), len(batches) * batches.batch_size

    def _check_finite(self, epoch: int, values: Epoch) -> None:
        if not (math.isfinite(values["loss"]) and math.isfinite(values["val_loss"])):
            raise InputError(
                f"{self.label}: the loss of epoch {epoch} is not finite (loss {values['loss']}, val_loss"
                f" {values['val_loss']}) with learning_rate {self.config.learning_rate:g}: lower learning_rate"
            )


def loss_weights(config: Config, task: Task, balanced: Sequence[float]) -> list[float]:
    """(k,) weights of the classes in the loss.

    Args:
        config: `class_weights` and `ignore_background` matter.
        task: its background weighs 1 (the mean of the other classes), or 0 with `ignore_background`.
        balanced: (k,) class weights of `balance`, with a mean of 1 over the scored classes.
    """
    weights = [float(weight) if config.class_weights else 1.0 for weight in balanced]
    if task.background is not None:
        weights[task.background] = 0.0 if config.ignore_background else 1.0
    return weights


def _learning_rate(model: keras.Model) -> float:
    """The learning rate of the next step, rounded to six digits because single precision holds no more."""
    return float(f"{float(ops.convert_to_numpy(model.optimizer.learning_rate)):.6g}")


class EpochBar(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """A progress bar of one epoch's batches, shown on terminals only and removed at the end."""

    def __init__(self, title: str, batches: int) -> None:
        super().__init__()
        self.bar = tqdm(total=batches, desc=title, unit="batch", leave=False, disable=None)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Advance, and show the epoch's mean loss so far."""
        self.bar.set_postfix(loss=f"{(logs or {}).get('loss', math.nan):.4f}", refresh=False)
        self.bar.update()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Remove the bar."""
        self.bar.close()
