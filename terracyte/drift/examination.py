"""Compares incoming images with the training images, for one report."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from terracyte.core import files, paths
from terracyte.drift import measurement
from terracyte.drift.comparison import compare
from terracyte.drift.measurement import Batch
from terracyte.drift.report import Report
from terracyte.images.statistics import STATISTICS
from terracyte.params import Drift
from terracyte.predict.predictor import Predictor
from terracyte.tasks.task import Task


def examine(
    task: Task, batches: Iterable[Batch], champion: Predictor | None, settings: Drift, folder: Path = Path()
) -> Report:
    """Compare incoming images with the training images; the same images give the same report.

    Args:
        task: the task that the images belong to.
        batches: the incoming images: names of b images, and the images (b, h, w, c) uint8, 0-255.
        champion: a predictor whose outputs are compared, too; None to compare the images' statistics only.
        settings: when a difference counts, and how many images the report shows.
        folder: the folder of the experiment whose images are the reference.

    Raises:
        InputError: there is no image, one is unreadable, or there is no manifest.
    """
    known = measurement.read_manifest(task, "train", folder)
    measured = measurement.measure(task, batches, champion, known, settings.examples)
    outputs = measurement.validation_outputs(task, champion, measured.hashes, folder) if champion else {}
    reference = measurement.as_arrays(known[list(STATISTICS)]) | outputs
    # evenly spaced training images, for the page
    chosen = np.linspace(0, len(known) - 1, min(settings.examples, len(known))).astype(np.int64)
    images = files.map_array(folder / paths.images(task.name))
    return Report(
        task=task,
        images=len(measured.values[STATISTICS[0]]),
        training=len(known),
        validation=len(next(iter(outputs.values()), ())),
        champion=str(champion.record["variant"]) if champion else "",
        findings=compare(reference, measured.values, settings),
        reference=reference,
        incoming=measured.values,
        strangest=measured.strangest,
        usual=[(f"image {place}", np.asarray(images[place])) for place in known["id"].iloc[chosen].tolist()],
    )
