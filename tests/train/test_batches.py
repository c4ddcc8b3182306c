"""Batches: their order, their repetition, their reproducibility."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from terracyte import params, tasks
from terracyte.core import files, paths
from terracyte.core.errors import InputError
from terracyte.params.variant import Config
from terracyte.tasks.task import Task
from terracyte.train.batches import Rows, TrainingBatches, part, read_rows, read_training
from tests import balanced_project


@pytest.fixture
def settings(project: Path) -> params.Params:
    balanced_project.write(project)
    return params.load()


def task(settings: params.Params, name: str) -> Task:
    return tasks.make(name, settings)


def config(**changed: Any) -> Config:
    plain = Config(architecture="cnn", width=4, depth=2, dropout=0.0, l1=0.0, l2=0.0, batch_size=4)
    return dataclasses.replace(plain, **changed)


def drawn(rows: Rows, **changed: Any) -> list[int]:
    """Return the ids of the images that an epoch shows, in order; their noise tells images apart."""
    batches = TrainingBatches(rows, config(**changed), seed=0, epoch=1)
    images = np.concatenate([batches[i][0] for i in range(len(batches))])
    return [int((rows.images == image).all(axis=(1, 2, 3)).argmax()) for image in images]


def test_reads_the_rows_of_one_split(settings: params.Params) -> None:
    rows = read_rows(task(settings, "mars"), "validation")
    assert list(rows.ids) == [7, 6, 5, 4]
    np.testing.assert_array_equal(rows.images[rows.ids][..., 0] // 60, rows.targets)


def test_each_seed_of_a_row_with_folds_holds_out_another_fold(settings: params.Params) -> None:
    blood = task(settings, "blood")
    held_out = []
    for seed in (0, 1, 2):
        training, validation = read_training(blood, config(folds=True), seed)
        # the test split is ids 0 to 3
        assert sorted([*training.ids, *validation.ids]) == list(range(4, 24))
        held_out.append(list(validation.ids))
        np.testing.assert_array_equal(validation.images[validation.ids].mean(axis=(1, 2, 3)) // 60, validation.targets)
    assert held_out[0] == held_out[2] == list(range(23, 3, -2))
    assert held_out[1] == list(range(22, 2, -2))


def test_folds_must_be_there(settings: params.Params) -> None:
    manifest = files.read_table(paths.balance_manifest("blood"))
    files.write_table(paths.balance_manifest("blood"), manifest.assign(fold=-1))
    with pytest.raises(InputError, match=r"'balance\.<task>\.folds' must be 2 or more"):
        read_training(task(settings, "blood"), config(folds=True), 0)


def test_an_epoch_shows_each_row_once(settings: params.Params) -> None:
    rows = read_rows(task(settings, "blood"), "train")
    ids = drawn(rows)
    assert sorted(ids) == list(range(8, 24))
    assert ids != sorted(ids)


def test_labels_belong_to_their_images(settings: params.Params) -> None:
    batches = TrainingBatches(read_rows(task(settings, "blood"), "train"), config(), seed=0, epoch=1)
    images, targets = batches[1]
    np.testing.assert_array_equal(targets.argmax(axis=1), images.mean(axis=(1, 2, 3)) // 60)
    np.testing.assert_array_equal(targets.sum(axis=1), 1)


def test_masks_belong_to_their_images(settings: params.Params) -> None:
    rows = read_rows(task(settings, "mars"), "train")
    flipping = config(flip="both", cutmix=1.0)
    images, targets = TrainingBatches(rows, flipping, seed=0, epoch=1)[0]
    assert targets.shape == (4, 32, 32, 4)
    np.testing.assert_array_equal(targets.argmax(axis=-1), images[..., 0] // 60)


def test_boost_repeats_rows(settings: params.Params) -> None:
    ids = drawn(read_rows(task(settings, "blood"), "train"), rare_class_boost=True)
    counts = np.bincount(ids, minlength=24)[8:]
    np.testing.assert_array_equal(counts[::-1], [2, 1, 1, 1] * 4)


def test_repeats_are_augmented_afresh(settings: params.Params) -> None:
    rows = read_rows(task(settings, "blood"), "train")
    only = Rows(rows.task, rows.manifest.iloc[:1].assign(repeats=4), rows.images, rows.targets[:1])
    images, _ = TrainingBatches(only, config(rare_class_boost=True, brightness=0.5), seed=0, epoch=1)[0]
    assert len(np.unique(images.mean(axis=(1, 2, 3)))) == 4


def test_weighted_sampling_follows_the_weights(settings: params.Params) -> None:
    rows = read_rows(task(settings, "blood"), "train")
    many = Rows(rows.task, pd.concat([rows.manifest] * 50, ignore_index=True), rows.images, np.tile(rows.targets, 50))
    batches = TrainingBatches(many, config(weighted_sampling=True), seed=0, epoch=1)
    share = np.bincount(batches.order % 4, minlength=4) / len(batches.order)
    np.testing.assert_allclose(share, [0.5, 0.25, 0.25, 0], atol=0.06)
    assert share[3] == 0


def test_same_seed_and_epoch_same_batches(settings: params.Params) -> None:
    rows = read_rows(task(settings, "mars"), "train")
    strong = config(
        flip="both",
        brightness=0.3,
        rotation=0.5,
        blur=0.5,
        prime=0.5,
        shading=0.5,
        erasing=0.5,
        erasing_boxes=3,
        policy="randaugment",
        policy_strength=0.5,
        cutmix=0.5,
    )
    first, second = (TrainingBatches(rows, strong, seed=3, epoch=2) for _ in range(2))
    # drawn in another order: a batch depends on its index only
    reversed_batches = [second[i] for i in (3, 2, 1, 0)][::-1]
    for i, batch in enumerate(reversed_batches):
        np.testing.assert_array_equal(first[i][0], batch[0])
        np.testing.assert_array_equal(first[i][1], batch[1])


@pytest.mark.parametrize(("seed", "epoch"), [(1, 1), (0, 2)])
def test_another_seed_or_epoch_another_order(settings: params.Params, seed: int, epoch: int) -> None:
    rows = read_rows(task(settings, "mars"), "train")
    usual = TrainingBatches(rows, config(), seed=0, epoch=1)
    assert list(TrainingBatches(rows, config(), seed=seed, epoch=epoch).order) != list(usual.order)


@pytest.mark.parametrize(("batch_size", "batches", "size"), [(4, 4, 4), (5, 3, 5), (99, 1, 16)])
def test_batches_are_of_one_size(settings: params.Params, batch_size: int, batches: int, size: int) -> None:
    epoch = TrainingBatches(read_rows(task(settings, "blood"), "train"), config(batch_size=batch_size), seed=0, epoch=1)
    assert len(epoch) == batches
    assert {len(epoch[i][0]) for i in range(len(epoch))} == {size}


def test_colour_of_grey_images_is_refused(settings: params.Params) -> None:
    rows = read_rows(task(settings, "mars"), "train")
    with pytest.raises(InputError, match="the images are grey"):
        TrainingBatches(rows, config(saturation=0.5), seed=0, epoch=1)


def test_missing_or_empty_splits_are_refused(settings: params.Params) -> None:
    manifest = pd.read_parquet(paths.balance_manifest("blood"))
    manifest[manifest["split"] != "validation"].to_parquet(paths.balance_manifest("blood"))
    with pytest.raises(InputError, match="no row's split is 'validation'"):
        read_rows(task(settings, "blood"), "validation")
    paths.balance_manifest("blood").unlink()
    with pytest.raises(InputError, match="run `dvc repro balance@blood`"):
        read_rows(task(settings, "blood"), "train")


def test_every_epoch_and_seed_augments_anew(settings: params.Params) -> None:
    rows = read_rows(task(settings, "blood"), "train")
    only = Rows(rows.task, rows.manifest.iloc[:1].assign(repeats=4), rows.images, rows.targets[:1])
    changes = config(rare_class_boost=True, brightness=0.5)
    shown = [TrainingBatches(only, changes, seed, epoch)[0][0] for seed, epoch in ((0, 1), (0, 2), (1, 1))]
    assert len({images.tobytes() for images in shown}) == 3


def test_a_part_keeps_images_and_targets_together(settings: params.Params) -> None:
    for name in ("blood", "mars"):
        rows = read_rows(task(settings, name), "train")
        some = part(rows, 0.5)
        assert len(some) == len(some.targets) == 8
        place = {each: number for number, each in enumerate(rows.ids)}
        np.testing.assert_array_equal(some.targets, rows.targets[[place[each] for each in some.ids]])
        assert len(np.unique(some.ids)) == 8
