"""Offsets of logits: which ones are found, and where they are added."""

from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from terracyte import models
from terracyte.models.problem import Problem
from terracyte.params.variant import Config
from terracyte.train import class_offsets


def test_finds_the_offsets_of_the_best_score() -> None:
    target = np.array([0, 1.5, 0, -2], np.float32)

    def score(tried: NDArray[np.float32]) -> float:
        return -float(np.abs(tried - target).sum())

    np.testing.assert_array_equal(class_offsets.fit(score, 4, (1, 2, 3)), target)


def test_classes_that_are_not_scored_keep_their_logits() -> None:
    found = class_offsets.fit(lambda tried: float(tried.sum()), 3, (1, 2))
    np.testing.assert_array_equal(found, [0, 3, 3])


def test_nothing_changes_where_nothing_is_gained() -> None:
    np.testing.assert_array_equal(class_offsets.fit(lambda tried: 0.5, 3, (0, 1, 2)), np.zeros(3))
    # noise in the last digits is no gain
    np.testing.assert_array_equal(class_offsets.fit(lambda tried: 1e-6 * float(tried.sum()), 3, (0, 1, 2)), np.zeros(3))


@pytest.mark.parametrize("patch", [1, 2])
def test_each_pixel_of_a_patch_gets_the_offsets(patch: Literal[1, 2]) -> None:
    problem = Problem(image_shape=(16, 32, 1), dense=True, class_shares=(0.4, 0.3, 0.3))
    model = models.build(
        Config(architecture="unet", width=4, depth=2, dropout=0.0, l1=0.0, l2=0.0, patch=patch), problem
    )
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 32, 1)).astype(np.float32)
    before = model.predict_on_batch(images)
    added = np.array([0, 1, -2], np.float32)
    class_offsets.add(model, added)
    np.testing.assert_allclose(model.predict_on_batch(images), before + added, atol=1e-5)


def test_of_equally_good_offsets_the_one_nearest_to_0_is_taken() -> None:
    np.testing.assert_array_equal(class_offsets.fit(lambda tried: float(tried[1] <= -1), 2, (0, 1)), [0, -1])


def test_an_offset_is_looked_at_again_after_the_others() -> None:
    def score(tried: NDArray[np.float32]) -> float:
        return -2 * abs(float(tried[0]) - 1.5) - abs(float(tried[1] - tried[0]))

    np.testing.assert_array_equal(class_offsets.fit(score, 2, (0, 1)), [1.5, 1.5])
