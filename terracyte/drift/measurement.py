"""Images → the numbers that are compared: how they look, and what the champion makes of them."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terracyte.core import paths
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
    """Numbers of n images.

    Attributes:
        looks: statistics of the manifest by name, (n,).
        opinions: of the champion by name, (n,): its confidence, the mean probability of each class, and how unlike the
            training images it finds them; empty without a champion.
        hashes: of the images' contents, (n,).
        strangest: names and images (h, w, c) of those farthest from the reference, the farthest first.
    """

    looks: dict[str, Numbers]
    opinions: dict[str, Numbers]
    hashes: frozenset[str]
    strangest: list[tuple[str, NDArray[np.uint8]]]


def incoming(
    task: Task, batches: Iterable[Batch], champion: Predictor | None, known: pd.DataFrame, show: int
) -> Measured:
    """Measure images; memory grows with their numbers, not with their pixels.

    Args:
        task: whose they are.
        batches: the images.
        champion: whose opinion counts; None for none.
        known: the manifest's rows of the training images: what is usual.
        show: how many of the strangest are kept.

    Raises:
        InputError: there are no images, or one is unreadable.
    """
    looks, opinions, strangest = [], [], list[tuple[float, str, NDArray[np.uint8]]]()
    for names, images in batches:
        table = describe(images)
        looks.append(table)
        judged = _opinions(champion, images) if champion else pd.DataFrame(index=table.index)
        opinions.append(judged)
        oddity = judged[UNLIKENESS].to_numpy() if champion else _oddity(table, known)
        strangest += zip(oddity.tolist(), names, images, strict=True)
        strangest = sorted(strangest, key=lambda each: (-each[0], each[1]))[:show]
    if not looks:
        raise InputError(f"there is no image to compare: give at least one {task.name} image")
    table = pd.concat(looks)
    return Measured(
        looks={name: table[name].to_numpy(np.float64) for name in STATISTICS},
        opinions=_columns(pd.concat(opinions)),
        hashes=frozenset(table["content_hash"]),
        strangest=[(name, image) for _, name, image in strangest],
    )


def training_looks(known: pd.DataFrame) -> dict[str, Numbers]:
    """The same statistics of the training images, as the manifest holds them."""
    return {name: known[name].to_numpy(np.float64) for name in STATISTICS}


def validation_opinions(
    task: Task, champion: Predictor, left_out: frozenset[str], folder: Path = Path()
) -> dict[str, Numbers]:
    """What the champion makes of validation images: those of training it knows by heart.

    Args:
        task: the champion's.
        champion: who is asked.
        left_out: contents that are not to be taken, since they are among the incoming images.
        folder: of the experiment.
    """
    rows = manifest(task, "validation", folder)
    ids = rows["id"][~rows["content_hash"].isin(left_out)].to_numpy(np.int64)
    images = np.load(folder / paths.images(task.name), mmap_mode="r")
    parts = [_opinions(champion, images[ids[start : start + _BATCH]]) for start in range(0, len(ids), _BATCH)]
    return _columns(pd.concat(parts)) if parts else {}


def manifest(task: Task, split: str, folder: Path = Path()) -> pd.DataFrame:
    """The rows of one split of the balanced manifest of the experiment in `folder`.

    Raises:
        InputError: there is no manifest yet.
    """
    path = folder / paths.balance_manifest(task.name)
    if not path.exists():
        raise InputError(f"{path} is missing: run `dvc repro balance@{task.name}`")
    rows = pd.read_parquet(path)
    return rows[rows["split"] == split]


def _opinions(champion: Predictor, images: NDArray[np.uint8]) -> pd.DataFrame:
    found = champion.predict(images)
    shares = found.probabilities.reshape(len(images), -1, len(champion.classes)).mean(axis=1, dtype=np.float64)
    columns = {f"probability of {name}": shares[:, k] for k, name in enumerate(champion.classes)}
    unlikeness = np.sqrt(champion.novelty.distances(images))
    # rounded: beyond it lies float noise, which differs between processors
    return pd.DataFrame({UNLIKENESS: unlikeness, CONFIDENCE: found.confidence, **columns}).round(6)


def _oddity(table: pd.DataFrame, known: pd.DataFrame) -> Numbers:
    """(n,): the largest number of standard deviations by which a statistic lies off the training images' mean."""
    names = list(STATISTICS)
    usual = known[names].to_numpy(np.float64)
    spread = usual.std(axis=0)
    off = np.abs(table[names].to_numpy(np.float64) - usual.mean(axis=0)) / np.where(spread > 0, spread, 1)
    return np.asarray(off.max(axis=1))


def _columns(table: pd.DataFrame) -> dict[str, Numbers]:
    return {str(name): table[name].to_numpy(np.float64) for name in table}
