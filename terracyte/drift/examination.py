"""Incoming images and those of the training → what is told of a drift."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from terracyte.core import paths
from terracyte.drift import measurement
from terracyte.drift.comparison import compare
from terracyte.drift.measurement import Batch
from terracyte.drift.report import Report
from terracyte.params import Drift
from terracyte.predict.predictor import Predictor
from terracyte.tasks.task import Task


def examine(
    task: Task, batches: Iterable[Batch], champion: Predictor | None, settings: Drift, folder: Path = Path()
) -> Report:
    """Hold incoming images against those of the training; the same images give the same report.

    Args:
        task: whose they are.
        batches: names of b images, and the images (b, h, w, c) uint8, 0-255.
        champion: whose opinion counts; None for none.
        settings: when a difference counts.
        folder: of the experiment whose images they are held against.

    Raises:
        InputError: there is no image, or one is unreadable, or no manifest.
    """
    known = measurement.manifest(task, "train", folder)
    measured = measurement.incoming(task, batches, champion, known, settings.examples)
    reference = measurement.training_looks(known)
    opinions = measurement.validation_opinions(task, champion, measured.hashes, folder) if champion else {}
    values = {**measured.looks, **measured.opinions}
    # training images, spread evenly
    spread = np.linspace(0, len(known) - 1, min(settings.examples, len(known))).astype(np.int64)
    images = np.load(folder / paths.images(task.name), mmap_mode="r")
    return Report(
        task=task,
        images=len(next(iter(measured.looks.values()))),
        training=len(known),
        validation=len(next(iter(opinions.values()), ())),
        champion=str(champion.record["variant"]) if champion else "",
        findings=compare({**reference, **opinions}, values, settings),
        reference={**reference, **opinions},
        incoming=values,
        strangest=measured.strangest,
        usual=[(f"image {place}", np.asarray(images[place])) for place in known["id"].iloc[spread].tolist()],
    )
