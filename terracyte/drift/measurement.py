"""Measures what is compared between images: statistics of their pixels, and the champion's outputs."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terracyte.core import files, manifests, paths
from terracyte.core.errors import InputError
from terracyte.drift.comparison import Numbers
from terracyte.images.statistics import STATISTICS, describe
from terracyte.predict.predictor import Predictor
from terracyte.tasks.task import Task

CONFIDENCE, UNLIKENESS = "confidence", "unlikeness"

_BATCH = 64

Batch = tuple[Sequence[str], NDArray[np.uint8]]
"""Names of b images, and the images (b, h, w, c)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured of n images.

    Attributes:
        values: values (n,) of each of the manifest's statistics, by name, and with a champion of each of its outputs:
            its confidence, the mean probability of each class, and the distance from the training images.
        hashes: the content hashes of the images.
        strangest: names and images (h, w, c) of the images farthest from the training images, the farthest first.
    """

    values: dict[str, Numbers]
    hashes: frozenset[str]
    strangest: list[tuple[str, NDArray[np.uint8]]]


def measure(
    task: Task, batches: Iterable[Batch], champion: Predictor | None, known: pd.DataFrame, show: int
) -> Measured:
    """Measure incoming images batch by batch, and keep the strangest ones.

    Args:
        task: the task that the images belong to.
        batches: the images.
        champion: the predictor whose outputs are measured; None to measure no outputs.
        known: the manifest's rows of the training images.
        show: how many of the strangest images are kept.

    Raises:
        InputError: there are no images, or one is unreadable.
    """
    tables, strangest = [], list[tuple[float, str, NDArray[np.uint8]]]()
    for names, images in batches:
        table = describe(images)
        table = table.join(_outputs(champion, images)) if champion else table
        tables.append(table)
        strangeness = table[UNLIKENESS].to_numpy() if champion else _largest_z_score(table, known)
        strangest += zip(strangeness.tolist(), names, images, strict=True)
        strangest = sorted(strangest, key=lambda each: (-each[0], each[1]))[:show]
        strangest = [(value, name, image.copy()) for value, name, image in strangest]  # a view keeps its whole batch
    if not tables:
        raise InputError(f"there is no image to compare: give at least one {task.name} image")
    table = pd.concat(tables)
    return Measured(
        values=as_arrays(table.drop(columns=["content_hash", "perceptual_hash"])),
        hashes=frozenset(table["content_hash"]),
        strangest=[(name, image) for _, name, image in strangest],
    )


def validation_outputs(
    task: Task, champion: Predictor, left_out: frozenset[str], folder: Path = Path()
) -> dict[str, Numbers]:
    """Return the champion's outputs for validation images; its outputs for training images would be too confident.

    Args:
        task: the champion's task.
        champion: the predictor whose outputs are measured.
        left_out: content hashes of images to leave out, because they are among the incoming images.
        folder: the experiment's folder.
    """
    rows = read_manifest(task, "validation", folder)
    rows = rows[~rows["content_hash"].isin(left_out)]
    images = files.map_array(folder / paths.images(task.name))
    parts = []
    for fold, member in champion.members().items():
        ids = (rows if fold is None else rows[rows["fold"] == fold])["id"].to_numpy(np.int64)
        parts += [_outputs(member, images[ids[start : start + _BATCH]]) for start in range(0, len(ids), _BATCH)]
    return as_arrays(pd.concat(parts)) if parts else {}


def read_manifest(task: Task, split: str, folder: Path = Path()) -> pd.DataFrame:
    """Read the rows of one split from the balanced manifest of the experiment in `folder`.

    Raises:
        InputError: there is no manifest yet, or it is damaged.
    """
    rows = manifests.read_balanced(task.name, ["id", "split", "fold", "content_hash", *STATISTICS], folder)
    return rows[rows["split"] == split]


def _outputs(champion: Predictor, images: NDArray[np.uint8]) -> pd.DataFrame:
    found = champion.predict(images)
    shares = found.probabilities.reshape(len(images), -1, len(champion.classes)).mean(axis=1, dtype=np.float64)
    columns = {f"probability of {name}": shares[:, k] for k, name in enumerate(champion.classes)}
    # rounded, because further digits differ between processors
    return pd.DataFrame({UNLIKENESS: np.sqrt(found.unlikeness), CONFIDENCE: found.confidence, **columns}).round(6)


def _largest_z_score(table: pd.DataFrame, known: pd.DataFrame) -> Numbers:
    """Return (n,): each image's largest distance of a statistic from the training mean, in standard deviations."""
    names = list(STATISTICS)
    training = known[names].to_numpy(np.float64)
    deviation = training.std(axis=0)
    distance = np.abs(table[names].to_numpy(np.float64) - training.mean(axis=0))
    return np.asarray((distance / np.where(deviation > 0, deviation, 1)).max(axis=1))


def as_arrays(table: pd.DataFrame) -> dict[str, Numbers]:
    """Return a table's columns (n,) by name."""
    return {str(name): table[name].to_numpy(np.float64) for name in table}
