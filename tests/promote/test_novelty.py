"""Images unlike the training images: what is flagged, and what is not."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from terracyte import params, tasks
from terracyte.core import files, paths
from terracyte.core.errors import InputError
from terracyte.images.statistics import describe
from terracyte.promote import novelty
from terracyte.promote.champion import NOVELTY
from terracyte.promote.novelty import FEATURES, NoveltyDetector
from terracyte.tasks.task import Task
from terracyte.train.batches import read_rows
from tests.conftest import TASKS
from tests.pictures import BLOOD, MARS, textures

TRAINING, VALIDATION = np.arange(300), np.arange(300, 400)
both = pytest.mark.parametrize("task", [BLOOD, MARS], ids=lambda task: task.name)


def pictures(task: Task) -> NDArray[np.uint8]:
    """Return 400 pictures whose brightness and contrast vary a little."""
    draw = np.random.default_rng(1)
    gain, offset = draw.normal(1, 0.1, (400, 1, 1, 1)), draw.normal(0, 8, (400, 1, 1, 1))
    return np.asarray((gain * textures(task, 400).astype(float) + offset).clip(0, 255), np.uint8)


@functools.cache
def learnt(task: Task, share: float = 0.05) -> tuple[NDArray[np.uint8], NoveltyDetector]:
    images = pictures(task)
    return images, novelty.fit(images, TRAINING, VALIDATION, share)


@both
def test_flags_the_declared_share_of_validation_images(task: Task) -> None:
    images, known = learnt(task, 0.1)
    assert (known.distances(images[VALIDATION]) > 1).mean() == pytest.approx(0.1, abs=0.01)
    assert (known.distances(images[TRAINING]) > 1).mean() == pytest.approx(0.1, abs=0.08)


@both
def test_flags_what_is_unlike_the_training_images(task: Task) -> None:
    images, known = learnt(task)
    draw, shape = np.random.default_rng(2), task.image_shape
    pasted = images[:5].copy()
    pasted[:, 8:24, 8:24] = 255
    strange = {
        "black": np.zeros((1, *shape)),
        "white": np.full((1, *shape), 255),
        "noise": draw.integers(0, 256, (5, *shape)),
        "much darker": images[:5] * 0.3,
        "something drawn over it": pasted,
        "a checkerboard": np.broadcast_to(255 * (np.indices(shape[:2]).sum(axis=0) % 2)[..., None], (1, *shape)),
    }
    for name, unlike in strange.items():
        assert (known.distances(unlike.astype(np.uint8)) > 1).all(), name


@both
def test_mirror_images_are_as_familiar(task: Task) -> None:
    images, known = learnt(task)
    assert known.distances(images[:20, ::-1, ::-1]) == pytest.approx(known.distances(images[:20]))


def test_false_colours_are_noticed() -> None:
    images, known = learnt(BLOOD)
    tinted = (images[:5] * np.array([1.0, 0.6, 1.0])).astype(np.uint8)
    assert (known.distances(tinted) > 1).all()


@both
def test_describes_each_image_alone(task: Task) -> None:
    images, known = learnt(task)
    features = known.features(images[:10])
    assert features.shape == (10, len(FEATURES))
    assert known.features(images[3:4]) == pytest.approx(features[3:4])
    assert np.isfinite(features).all()


@both
def test_equal_training_images_divide_by_nothing(task: Task) -> None:
    flat = np.full((20, *task.image_shape), 100, np.uint8)
    known = novelty.fit(flat, np.arange(10), np.arange(10, 20), 0.01)
    assert (known.distances(flat) <= 1).all()
    assert (known.distances(flat + 100) > 1).all()


@pytest.mark.parametrize("name", TASKS)
def test_a_champions_file_repeats_byte_for_byte(champions: Path, name: str) -> None:
    path = paths.champion(name) / NOVELTY
    before = path.read_bytes()
    novelty.write(tasks.make(name, params.load()), path, 0.25)
    assert path.read_bytes() == before
    assert novelty.read(path, {"blood": 3, "mars": 1}[name]).threshold > 0


@pytest.mark.parametrize("name", TASKS)
def test_training_images_are_learnt_and_validation_images_set_the_threshold(champions: Path, name: str) -> None:
    task = tasks.make(name, params.load())
    images = np.load(paths.images(name))
    training, held_out = (read_rows(task, split).ids for split in ("train", "validation"))
    expected = novelty.fit(images, training, held_out, 0.25)
    found = novelty.read(paths.champion(name) / NOVELTY, task.image_shape[2])
    np.testing.assert_array_equal(found.centre, expected.centre)
    assert found.threshold == expected.threshold


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": np.array(np.nan)},  # would flag no image
        {"centre": np.zeros(len(FEATURES) - 1)},
        {"scale": np.ones(len(FEATURES), np.float32)},
        {"mean_colours": np.zeros(1)},  # of another number of channels
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_damaged_file_is_refused(change: dict[str, NDArray[Any]], tmp_path: Path) -> None:
    known = novelty.fit(textures(BLOOD, 40), TRAINING[:30], np.arange(30, 40), 0.1)
    files.write_arrays(tmp_path / NOVELTY, {name: np.asarray(array) for name, array in vars(known).items()} | change)
    with pytest.raises(InputError, match=f"'{next(iter(change))}' is float"):
        novelty.read(tmp_path / NOVELTY, 3)


def test_sharpness_counts_by_its_logarithm() -> None:
    images, known = learnt(BLOOD)
    found = known.features(images[:3])[:, novelty.FEATURES.index("sharpness")]
    assert found == pytest.approx(np.log1p(describe(images[:3])["sharpness"]).to_numpy(), rel=1e-4)
