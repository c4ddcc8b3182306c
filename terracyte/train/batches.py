"""Batches of memory-mapped images, whose order and augmentation depend on seed and epoch alone."""

import dataclasses
from typing import Any, Literal

import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terracyte.core import files, manifests, paths
from terracyte.core.errors import InputError
from terracyte.images.augmentation import Augmentation
from terracyte.params.variant import Config
from terracyte.tasks.task import Task

# Separate streams of random numbers of one seed.
_ORDER, _AUGMENTATION = 0, 1


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows of the balanced manifest with their targets; the pixels stay on disk.

    Attributes:
        task: whose rows they are.
        manifest: the rows.
        images: (N, h, w, c) uint8, memory-mapped: all raw images, indexed by `id`.
        targets: (n,) labels or (n, h, w) masks of the rows, in memory.
    """

    task: Task
    manifest: pd.DataFrame
    images: NDArray[np.uint8]
    targets: NDArray[Any]

    def __len__(self) -> int:
        return len(self.manifest)

    @property
    def ids(self) -> NDArray[np.int64]:
        """(n,) indices of the rows into `images`."""
        return self.manifest["id"].to_numpy(np.int64)


def read_rows(task: Task, split: Literal["train", "validation"]) -> Rows:
    """The rows of one split.

    Args:
        task: whose.
        split: train or validation; the test split is for `evaluate` alone.

    Raises:
        InputError: there is no balanced manifest yet, or the split is empty.
    """
    manifest = manifests.read_balanced(task.name)
    manifest = manifest[manifest["split"] == split]
    if manifest.empty:
        path = paths.balance_manifest(task.name)
        raise InputError(f"{path}: no row's split is '{split}'; change balance.{task.name} in params.yaml")
    return _rows(task, manifest)


def read_training(task: Task, config: Config, seed: int) -> tuple[Rows, Rows]:
    """What a training learns from, and what chooses its epoch: the splits train and validation, or folds of both.

    Args:
        task: whose.
        config: `folds` matters.
        seed: of the training; with folds it says which one is held out, see `manifests.held_out_fold`.

    Raises:
        InputError: there is no balanced manifest yet, a split is empty, or there are no folds.
    """
    if not config.folds:
        return read_rows(task, "train"), read_rows(task, "validation")
    manifest = manifests.read_balanced(task.name)
    held_out = manifest["fold"] == manifests.held_out_fold(manifest, seed)
    return _rows(task, manifest[(manifest["fold"] >= 0) & ~held_out]), _rows(task, manifest[held_out])


def _rows(task: Task, manifest: pd.DataFrame) -> Rows:
    manifest = manifest.reset_index(drop=True)
    return Rows(task, manifest, files.map_array(paths.images(task.name)), task.targets(manifest))


def part(rows: Rows, share: float) -> Rows:
    """A random part of the rows, in their order; the same rows and share give the same part.

    Args:
        rows: of one split.
        share: of the rows, 0-1; at least one row is kept.
    """
    count = max(1, round(share * len(rows)))
    kept = np.sort(np.random.default_rng(0).permutation(len(rows))[:count])
    return dataclasses.replace(
        rows, manifest=rows.manifest.iloc[kept].reset_index(drop=True), targets=rows.targets[kept]
    )


def one_hot(targets: NDArray[Any], classes: int) -> NDArray[np.float32]:
    """Labels (b,) or masks (b, h, w) as one-hot class shares (..., k)."""
    return np.asarray(np.eye(classes, dtype=np.float32)[targets])


class TrainingBatches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras ships no types
    """One epoch of training batches: (images, class shares).

    The same `seed`, `epoch` and index give the same batch, in whatever order batches are asked for. All batches have
    the same size: rows that would not fill the last one are left out of this epoch.

    Args:
        rows: of the training split.
        config: `batch_size`, `rare_class_boost`, `weighted_sampling` and the augmentation matter.
        seed: of order and augmentation.
        epoch: counted from 1.

    Raises:
        InputError: the augmentation does not fit the images; see `Augmentation`.
    """

    def __init__(self, rows: Rows, config: Config, seed: int, epoch: int) -> None:
        super().__init__()
        self.rows = rows
        self.seed, self.epoch = seed, epoch
        self.augmentation = Augmentation(config, rows.task.dense, rows.images.shape[-1])
        self.order = _order(rows.manifest, config, np.random.default_rng([seed, _ORDER, epoch]))
        self.batch_size = min(config.batch_size, len(self.order))

    def __len__(self) -> int:
        """Number of batches in the epoch."""
        return len(self.order) // self.batch_size

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Images (b, h, w, c), 0-255, and class shares (b, k) or (b, h, w, k)."""
        chosen = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        random = np.random.default_rng([self.seed, _AUGMENTATION, self.epoch, index])
        classes = len(self.rows.task.classes)
        images, targets = self.rows.images[self.rows.ids[chosen]], self.rows.targets[chosen]
        if self.rows.task.dense:
            changed, masks = self.augmentation(images, targets, random)
            return changed, one_hot(masks, classes)
        return self.augmentation(images, one_hot(targets, classes), random)


def _order(manifest: pd.DataFrame, config: Config, random: np.random.Generator) -> NDArray[np.int64]:
    """Row numbers in the order of an epoch; with weighted sampling some come twice and some not at all."""
    rows = np.arange(len(manifest), dtype=np.int64)
    if config.rare_class_boost:
        rows = rows.repeat(manifest["repeats"].to_numpy(np.int64))
    if not config.weighted_sampling:
        return random.permutation(rows)
    weights = manifest["sample_weight"].to_numpy(np.float64)[rows]
    return random.choice(rows, size=len(rows), p=weights / weights.sum())
