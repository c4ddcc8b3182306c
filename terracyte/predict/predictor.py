"""Predicts images with a champion: classes, calibrated confidence, and a flag for images unlike the training images."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terracyte.core import quiet
from terracyte.core.errors import UnusableFileError
from terracyte.ingest.sources.resizing import Region
from terracyte.promote import calibration, novelty
from terracyte.promote.champion import CALIBRATION, MODEL, NOVELTY, RECORD, read_record, restoring, task_of
from terracyte.promote.novelty import NoveltyDetector
from terracyte.tasks.task import Task

Network = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclasses.dataclass(frozen=True)
class Predictions:
    """The predictions for b images; only the s scored classes can be predicted.

    Attributes:
        labels: (b,), or (b, h, w) for tasks with masks: the most probable class.
        probabilities: (b, s), or (b, h, w, s): calibrated, each row summing to 1.
        unlikeness: (b,) how much each image differs from the training images, see `NoveltyDetector.distances`.
        regions: for tasks with masks, the part of each image that is the picture; None if all of it is.
    """

    labels: NDArray[Any]
    probabilities: NDArray[np.float32]
    unlikeness: NDArray[np.float64]
    regions: Sequence[Region] | None = None

    @property
    def unfamiliar(self) -> NDArray[np.bool_]:
        """(b,) whether each image is unlike the training images."""
        return self.unlikeness > 1

    @property
    def confidence(self) -> NDArray[np.float64]:
        """(b,) probability of the predicted class; for tasks with masks, its mean over the picture's pixels."""
        highest = self.within_pictures(self.probabilities.max(axis=-1))
        return np.array([one.mean(dtype=np.float64) for one in highest])

    def within_pictures(self, arrays: NDArray[Any]) -> list[NDArray[Any]]:
        """Cut b arrays (b, h, w, ...) to the parts (h', w', ...) that are pictures, without bars of padding."""
        if self.regions is None:
            return list(arrays)
        return [array[region] for array, region in zip(arrays, self.regions, strict=True)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predictor:
    """A champion, ready to predict; threads may share it.

    Attributes:
        task: the champion's task.
        record: the content of `champion.json`.
        model: the network's file.
        network: images (b, h, w, c), 0-255 → logits (b, k) or (b, h, w, k), for any b.
        temperature: the temperature that calibrates the logits, see `calibration`.
        novelty: the detector of images unlike the training images, see `novelty`.
    """

    task: Task
    record: dict[str, Any]
    model: Path
    network: Network
    temperature: float
    novelty: NoveltyDetector

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the scored classes, in the order of the probabilities."""
        return tuple(self.task.classes[k] for k in self.task.scored_classes)

    def members(self) -> "dict[int | None, Predictor]":
        """Return predictors for validation images that they have not seen in training: a champion with folds gives one
        per network, by the fold that it held out; any other champion gives itself, under None."""
        folds = self.record.get("folds", [])
        if not folds:
            return {None: self}
        model = _network(self.model)
        from terracyte.models import ensemble

        networks = (_graph(member, self.task.image_shape) for member in ensemble.members(model))
        return {fold: dataclasses.replace(self, network=each) for fold, each in zip(folds, networks, strict=True)}

    def predict(self, images: NDArray[np.uint8], regions: Sequence[Region] | None = None) -> Predictions:
        """Predict images.

        Args:
            images: (b, h, w, c) uint8, 0-255.
            regions: for tasks with masks, the part of each image that is the picture; None if all of it is.
        """
        logits = self.network(images.astype(np.float32))
        probabilities = calibration.probabilities(self.task, logits, self.temperature)
        labels = np.array(self.task.scored_classes)[probabilities.argmax(axis=-1)]
        return Predictions(labels, probabilities, self.novelty.distances(images), regions if self.task.dense else None)


def read(folder: Path, task: str | None = None) -> Predictor:
    """Read a champion's folder.

    Args:
        folder: the champion's folder.
        task: the name of the task that the champion must belong to; None for any.

    Raises:
        InputError: there is no champion, it belongs to another task, or one of its files is missing or damaged.
    """
    record = read_record(folder, task)
    image_shape = (record["height"], record["width"], record["channels"])
    with restoring(folder):
        # the network comes last: reading it takes seconds
        temperature = calibration.read(folder / CALIBRATION)
        detector = novelty.read(folder / NOVELTY, record["channels"])
        network = _compiled(folder / MODEL, image_shape)
        some = network(np.zeros((1, *image_shape), np.float32)).shape[-1]
        if some != len(record["classes"]):
            raise UnusableFileError(
                f"{folder / MODEL} has {some} classes, but {folder / RECORD} lists {len(record['classes'])}"
            )
    return Predictor(
        task=task_of(record),
        record=record,
        model=folder / MODEL,
        network=network,
        temperature=temperature,
        novelty=detector,
    )


def _compiled(path: Path, image_shape: tuple[int, int, int]) -> Network:
    """Read a network from a file; see `_graph`."""
    return _graph(_network(path), image_shape)


def _network(path: Path) -> Any:
    """Read a Keras model from a file."""
    # Imported here: reading a champion's record needs no Keras.
    with quiet.importing_keras(all_cores=True):
        from terracyte.models import inference
        from terracyte.models.serialization import read_model

    inference.make_repeatable(0)
    return read_model(path)


def _graph(model: Any, image_shape: tuple[int, int, int]) -> Network:
    """Turn a Keras model into a function; with TensorFlow, it is compiled to one graph for all batch sizes."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return lambda images: np.asarray(model(images, training=False))
    import tensorflow as tf

    graph = tf.function(
        lambda images: model(images, training=False), input_signature=[tf.TensorSpec((None, *image_shape), tf.float32)]
    ).get_concrete_function()
    return lambda images: np.asarray(graph(tf.constant(images)))
