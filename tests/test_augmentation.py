"""Augmentation: masks follow exactly, labels mix by area, nothing else happens."""

import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from terracyte.data import augmentation
from terracyte.data.augmentation import Augmentation
from terracyte.params import Config

STRONG: dict[str, Any] = {"flip": "both", "brightness": 0.3, "contrast": 0.3, "rotation": 0.5, "zoom": 0.2}


def config(**changed: Any) -> Config:
    return Config(architecture="unet", width=4, depth=2, dropout=0.0, l1=0.0, l2=0.0, **changed)


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def batch(size: int = 8, height: int = 32, width: int = 32) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Masks of blocks of classes 0-4, and images of the same blocks, 50 grey levels per class."""
    masks = random(7).integers(0, 5, (size, height // 8, width // 8)).repeat(8, axis=1).repeat(8, axis=2)
    return (50 * masks[..., None]).astype(np.uint8), masks.astype(np.uint8)


@pytest.mark.parametrize("dense", [False, True])
def test_nothing_configured_changes_nothing(dense: bool) -> None:
    images, masks = batch()
    targets = masks if dense else np.eye(8, dtype=np.float32)
    changed, kept = Augmentation(config(), dense)(images, targets, random())
    np.testing.assert_array_equal(changed, images)
    np.testing.assert_array_equal(kept, targets)
    assert changed.dtype == np.float32


@pytest.mark.parametrize("dense", [False, True])
def test_is_a_pure_function(dense: bool) -> None:
    images, masks = batch()
    targets = masks if dense else np.eye(8, dtype=np.float32)
    before = images.copy(), targets.copy()
    strong = Augmentation(config(**STRONG, cutmix=1.0), dense)
    results = [strong(images, targets, random(3)) for _ in range(2)]
    for first, second in zip(*results, strict=True):
        np.testing.assert_array_equal(first, second)
    for now, old in zip((images, targets), before, strict=True):
        np.testing.assert_array_equal(now, old)


def test_another_seed_changes_differently() -> None:
    images, masks = batch()
    strong = Augmentation(config(**STRONG), dense=True)
    assert (strong(images, masks, random(0))[0] != strong(images, masks, random(1))[0]).any()


@pytest.mark.parametrize("dense", [False, True])
def test_forms_stay(dense: bool) -> None:
    images, masks = batch(height=16, width=32)
    targets = masks if dense else np.eye(8, dtype=np.float32)
    changed, followed = Augmentation(config(**STRONG, cutmix=1.0), dense)(images, targets, random())
    assert changed.shape == images.shape
    assert changed.dtype == np.float32
    assert (followed.shape, followed.dtype) == (targets.shape, targets.dtype)
    assert changed.min() >= 0
    assert changed.max() <= 255


@pytest.mark.parametrize("mode", ["horizontal", "both"])
@pytest.mark.parametrize("width", [32, 64])
def test_masks_follow_flips_exactly(mode: str, width: int) -> None:
    images, masks = batch(64, width=width)
    flipped, followed = augmentation.flip(images, masks, mode, random())
    assert followed is not None
    np.testing.assert_array_equal(flipped[..., 0], 50 * followed)
    assert (flipped != images).any()


def test_horizontal_flip_mirrors_about_half_of_the_images() -> None:
    images, _ = batch(200)
    flipped, _ = augmentation.flip(images, None, "horizontal", random())
    mirrored = (flipped == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (mirrored | (flipped == images).all(axis=(1, 2, 3))).all()
    assert 60 < mirrored.sum() < 140


def test_both_reaches_all_symmetries_of_the_square() -> None:
    image = np.arange(9, dtype=np.uint8).reshape(1, 3, 3, 1)
    flipped, _ = augmentation.flip(image.repeat(200, axis=0), None, "both", random())
    expected = {np.rot90(face, turns).tobytes() for face in (image[0], image[0, ::-1]) for turns in range(4)}
    assert {one.tobytes() for one in flipped} == expected


def test_both_never_transposes_an_oblong() -> None:
    image = np.arange(6, dtype=np.uint8).reshape(1, 2, 3, 1)
    flipped, _ = augmentation.flip(image.repeat(100, axis=0), None, "both", random())
    assert len({one.tobytes() for one in flipped}) == 4


def test_masks_follow_turns() -> None:
    images, masks = batch(16)
    turned, followed = augmentation.turn(images.astype(np.float32), masks, 0.5, 0.2, random())
    assert followed is not None
    assert set(np.unique(followed)) <= set(range(5))
    # bilinear and nearest sampling may part only where classes meet
    inside = np.array([[(window == window[0, 0]).all() for window in _windows(mask)] for mask in followed])
    centres = followed[:, 1:-1, 1:-1].reshape(16, -1)
    grey = turned[:, 1:-1, 1:-1, 0].reshape(16, -1)
    assert inside.mean() > 0.4
    assert (np.abs(grey - 50 * centres.astype(float))[inside] < 1).mean() > 0.99


def _windows(mask: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    places = itertools.product(range(mask.shape[0] - 2), range(mask.shape[1] - 2))
    return [mask[i : i + 3, j : j + 3] for i, j in places]


def test_no_turn_is_the_identity() -> None:
    images, masks = batch()
    turned, followed = augmentation.turn(images.astype(np.float32), masks, 0.0, 0.0, random())
    np.testing.assert_array_equal(turned, images)
    np.testing.assert_array_equal(followed, masks)


def test_a_quarter_turn_is_exact() -> None:
    from keras import ops

    images = random().random((1, 8, 8, 1)).astype(np.float32)
    quarter = augmentation.centred_transforms(np.array([np.pi / 2]), np.ones(1), 8, 8)
    turned = ops.convert_to_numpy(ops.image.affine_transform(images, quarter, data_format="channels_last"))
    np.testing.assert_allclose(turned[0], np.rot90(images[0], 1), atol=1e-5)


def test_turns_leave_no_black_corners() -> None:
    white = np.full((16, 32, 32, 1), 200, np.float32)
    turned, _ = augmentation.turn(white, None, 0.5, 0.4, random())
    np.testing.assert_allclose(turned, 200, atol=1e-3)


def test_brightness_scales_the_mean() -> None:
    images = random().uniform(80, 120, (200, 8, 8, 1)).astype(np.float32)
    ratio = augmentation.relight(images, 0.2, 0.0, random()).mean((1, 2, 3)) / images.mean((1, 2, 3))
    assert 0.8 <= ratio.min() < 0.85
    assert 1.15 < ratio.max() <= 1.2 + 1e-6


def test_contrast_keeps_the_mean_and_scales_the_deviation() -> None:
    images = random().uniform(80, 120, (200, 8, 8, 1)).astype(np.float32)
    relit = augmentation.relight(images, 0.0, 0.3, random())
    np.testing.assert_allclose(relit.mean((1, 2, 3)), images.mean((1, 2, 3)), rtol=1e-5)
    ratio = relit.std((1, 2, 3)) / images.std((1, 2, 3))
    assert 0.7 - 1e-4 <= ratio.min() < 0.75
    assert 1.25 < ratio.max() <= 1.3 + 1e-4


def test_cutmix_mixes_labels_by_area() -> None:
    images = np.broadcast_to(np.arange(8, dtype=np.float32)[:, None, None, None], (8, 20, 30, 1))
    mixed, shares = augmentation.cutmix(images, np.eye(8, dtype=np.float32), False, random(2))
    for image, share in zip(mixed, shares, strict=True):
        counted = np.bincount(image.astype(int).ravel(), minlength=8) / image.size
        np.testing.assert_allclose(share, counted, atol=1e-6)
    assert ((shares > 0).sum(axis=1) == 2).any()


def test_cutmix_pastes_masks() -> None:
    images, masks = batch()
    mixed, pasted = augmentation.cutmix(images.astype(np.float32), masks, True, random(2))
    np.testing.assert_array_equal(mixed[..., 0], 50 * pasted)
    assert (pasted != masks).any()


def test_cutmix_happens_with_its_probability() -> None:
    images, masks = batch(4)
    sometimes = Augmentation(config(cutmix=0.3), dense=True)
    mixed = sum((sometimes(images, masks, random(seed))[1] != masks).any() for seed in range(200))
    # a box may be empty or change nothing, hence fewer than 60
    assert 30 < mixed < 75
