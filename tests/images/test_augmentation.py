"""Augmentation: masks follow their images, labels mix by area, only configured changes occur, Keras' formulas hold."""

import itertools
import random as python_random
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from terracyte.core.errors import InputError
from terracyte.images.augmentation import Augmentation, appearance, geometry, mixing, policy
from terracyte.params.variant import Config

GEOMETRY: dict[str, Any] = {"flip": "both", "rotation": 0.5, "zoom": 0.2}
STRONG: dict[str, Any] = {
    **GEOMETRY,
    "brightness": 0.3,
    "contrast": 0.3,
    "prime": 0.5,
    "shading": 0.5,
    "blur": 0.5,
    "erasing": 0.5,
    "erasing_boxes": 3,
}
RANDAUGMENT: dict[str, Any] = {"policy": "randaugment", "policy_strength": 1.0}
AUGMIX: dict[str, Any] = {"policy": "augmix", "policy_strength": 1.0}
COLOUR: dict[str, Any] = {"saturation": 1.0, "hue": 0.5}


def config(**changed: Any) -> Config:
    return Config(architecture="unet", width=4, depth=2, dropout=0.0, l1=0.0, l2=0.0, **changed)


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def batch(size: int = 8, height: int = 32, width: int = 32) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return images and masks of 8x8 blocks of classes 0-4; the grey level of class k is 50 k."""
    masks = random(7).integers(0, 5, (size, height // 8, width // 8)).repeat(8, axis=1).repeat(8, axis=2)
    return (50 * masks[..., None]).astype(np.uint8), masks.astype(np.uint8)


def colourful(size: int = 6, channels: int = 3, low: float = 0, high: float = 255) -> NDArray[np.float32]:
    return random(5).uniform(low, high, (size, 24, 32, channels)).astype(np.float32)


def changed_by(change: Any, images: NDArray[np.float32], *arguments: Any) -> NDArray[np.float32]:
    """Apply a change that works in place to a copy of the images, and return the copy."""
    changed = images.copy()
    change(changed, *arguments)
    return changed


def flip(images: NDArray[Any], masks: NDArray[np.uint8] | None, mode: str) -> tuple[NDArray[Any], Any]:
    size, height, width, _ = images.shape
    return geometry.warp(images, masks, geometry.flips(size, mode, height == width, random()))


@pytest.mark.parametrize("dense", [False, True])
def test_nothing_configured_changes_nothing(dense: bool) -> None:
    images, masks = batch()
    targets = masks if dense else np.eye(8, dtype=np.float32)
    changed, kept = Augmentation(config(), dense, 1)(images, targets, random())
    np.testing.assert_array_equal(changed, images)
    np.testing.assert_array_equal(kept, targets)
    assert changed.dtype == np.float32


@pytest.mark.parametrize("dense", [False, True])
def test_is_a_pure_function(dense: bool) -> None:
    images, masks = batch()
    targets = masks if dense else np.eye(8, dtype=np.float32)
    before = images.copy(), targets.copy()
    strong = Augmentation(config(**STRONG, **RANDAUGMENT, cutmix=1.0), dense, 1)
    results = [strong(images, targets, random(3)) for _ in range(2)]
    for first, second in zip(*results, strict=True):
        np.testing.assert_array_equal(first, second)
    for now, old in zip((images, targets), before, strict=True):
        np.testing.assert_array_equal(now, old)


def test_another_seed_changes_differently() -> None:
    images, masks = batch()
    strong = Augmentation(config(**STRONG), True, 1)
    assert (strong(images, masks, random(0))[0] != strong(images, masks, random(1))[0]).any()


@pytest.mark.parametrize("dense", [False, True])
def test_forms_stay(dense: bool) -> None:
    images, masks = batch(height=16, width=32)
    targets = masks if dense else np.eye(8, dtype=np.float32)
    changed, followed = Augmentation(config(**STRONG, **RANDAUGMENT, cutmix=1.0), dense, 1)(images, targets, random())
    assert changed.shape == images.shape
    assert changed.dtype == np.float32
    assert (followed.shape, followed.dtype) == (targets.shape, targets.dtype)
    assert changed.min() >= 0
    assert changed.max() <= 255


@pytest.mark.parametrize("mode", ["horizontal", "both"])
@pytest.mark.parametrize("width", [32, 64])
def test_masks_follow_flips_exactly(mode: str, width: int) -> None:
    images, masks = batch(64, width=width)
    flipped, followed = flip(images, masks, mode)
    assert followed is not None
    np.testing.assert_array_equal(flipped[..., 0], 50 * followed)
    assert (flipped != images).any()


def test_horizontal_flip_mirrors_about_half_of_the_images() -> None:
    images, _ = batch(200)
    flipped, _ = flip(images, None, "horizontal")
    mirrored = (flipped == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (mirrored | (flipped == images).all(axis=(1, 2, 3))).all()
    assert 60 < mirrored.sum() < 140


def test_both_reaches_all_symmetries_of_the_square() -> None:
    image = np.arange(9, dtype=np.uint8).reshape(1, 3, 3, 1)
    flipped, _ = flip(image.repeat(200, axis=0), None, "both")
    expected = {
        np.rot90(face, turns).astype(np.float32).tobytes() for face in (image[0], image[0, ::-1]) for turns in range(4)
    }
    assert {one.tobytes() for one in flipped} == expected


def test_a_mirror_and_its_transpose_keep_every_pixel() -> None:
    images = random().uniform(0, 255, (64, 37, 37, 3)).astype(np.float32)
    flipped, _ = flip(images, None, "both")
    for before, after in zip(images, flipped, strict=True):
        np.testing.assert_array_equal(np.sort(before, axis=None), np.sort(after, axis=None))


def test_a_mirror_comes_before_a_turn() -> None:
    images = random().uniform(0, 255, (16, 32, 32, 3)).astype(np.float32)
    mirrors = geometry.flips(16, "both", True, random())
    turns = geometry.rotations_and_zooms(16, 0.5, 0.2, random(1))
    at_once, _ = geometry.warp(images, None, mirrors @ turns)
    one_by_one, _ = geometry.warp(geometry.warp(images, None, mirrors)[0], None, turns)
    # OpenCV before 5 rounds positions to 1/32 of a pixel
    np.testing.assert_allclose(at_once, one_by_one, atol=12)


def test_both_never_transposes_an_oblong() -> None:
    image = np.arange(6, dtype=np.uint8).reshape(1, 2, 3, 1)
    flipped, _ = flip(image.repeat(100, axis=0), None, "both")
    assert len({one.tobytes() for one in flipped}) == 4


def test_masks_follow_turns() -> None:
    images, masks = batch(16)
    transforms = geometry.rotations_and_zooms(16, 0.5, 0.2, random())
    turned, followed = geometry.warp(images.astype(np.float32), masks, transforms)
    assert followed is not None
    assert set(np.unique(followed)) <= set(range(5))
    # bilinear and nearest-neighbour sampling may differ only where classes meet
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
    turned, followed = geometry.warp(
        images.astype(np.float32), masks, geometry.rotations_and_zooms(8, 0.0, 0.0, random())
    )
    np.testing.assert_array_equal(turned, images)
    np.testing.assert_array_equal(followed, masks)


def test_a_quarter_turn_is_exact() -> None:
    images = random().random((1, 8, 8, 1)).astype(np.float32)
    masks = random().integers(0, 5, (1, 8, 8)).astype(np.uint8)
    turned, followed = geometry.warp(images, masks, geometry.affine(angle=np.pi / 2))
    assert followed is not None
    np.testing.assert_allclose(turned[0], np.rot90(images[0], 1), atol=1e-5)
    np.testing.assert_array_equal(followed[0], np.rot90(masks[0], 1))


def test_a_shift_moves_by_whole_pixels() -> None:
    images, masks = batch(1)
    moved, followed = geometry.warp(images.astype(np.float32), masks, geometry.affine(shift_x=8.0, shift_y=-8.0))
    assert followed is not None
    np.testing.assert_array_equal(moved[0, 8:, :-8], images[0, :-8, 8:])
    np.testing.assert_array_equal(50 * followed[..., None], moved)


def test_shears_leave_the_centre_line() -> None:
    image = random().random((1, 9, 9, 1)).astype(np.float32)
    sheared, _ = geometry.warp(image, None, geometry.affine(shear_x=0.5))
    np.testing.assert_allclose(sheared[0, 4], image[0, 4], atol=1e-6)
    np.testing.assert_allclose(sheared[0, 6, :-1], image[0, 6, 1:], atol=1e-6)


def test_zoom_keeps_the_centre_and_enlarges() -> None:
    image = np.zeros((1, 33, 33, 1), np.float32)
    image[0, 12:21, 12:21] = 1
    enlarged, _ = geometry.warp(image, None, geometry.affine(scale=0.5))
    assert enlarged[0, 16, 16] == 1
    assert enlarged.sum() == pytest.approx(4 * image.sum(), rel=0.15)


def test_turns_leave_no_black_corners() -> None:
    white = np.full((16, 32, 32, 1), 200, np.float32)
    turned, _ = geometry.warp(white, None, geometry.rotations_and_zooms(16, 0.5, 0.4, random()))
    np.testing.assert_allclose(turned, 200, atol=1e-3)


@pytest.mark.parametrize(
    "changes",
    [
        {**COLOUR},
        {"brightness": 1.0, "contrast": 1.0},
        {"blur": 1.0},
        {"prime": 1.0},
        {"shading": 1.0},
        {"erasing": 1.0},
        {"erasing": 1.0, "erasing_boxes": 16},
        {"mixup": 1.0},
        RANDAUGMENT,
        AUGMIX,
    ],
)
def test_ranges_and_shares_hold_at_full_strength(changes: dict[str, Any]) -> None:
    images = random().integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    shares = np.eye(8, dtype=np.float32)
    changed, followed = Augmentation(config(**changes), False, 3)(images, shares, random())
    assert changed.shape == images.shape
    assert changed.dtype == np.float32
    assert followed.dtype == np.float32
    assert (changed != images).any()
    assert changed.min() >= 0
    assert changed.max() <= 255
    np.testing.assert_allclose(followed.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("changes", [RANDAUGMENT, AUGMIX, {"cutmix": 0.5, "mixup": 0.5}])
def test_global_seeds_and_earlier_draws_do_not_matter(changes: dict[str, Any]) -> None:
    import keras

    images = random().integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    strong = Augmentation(config(**STRONG, **COLOUR, **changes), False, 3)
    results = []
    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        strong(images, np.eye(8, dtype=np.float32), random(seed))
        results.append(strong(images, np.eye(8, dtype=np.float32), random(9)))
    for first, second in zip(*results, strict=True):
        np.testing.assert_array_equal(first, second)


def test_the_global_generator_is_left_alone() -> None:
    images = random().integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    before = python_random.getstate()
    for changes in ({**STRONG, **COLOUR, **AUGMIX, "mixup": 1.0}, {**RANDAUGMENT, "cutmix": 1.0}):
        Augmentation(config(**changes), False, 3)(images, np.eye(8, dtype=np.float32), random())
    assert python_random.getstate() == before


@pytest.mark.parametrize(
    ("changes", "dense", "channels", "message"),
    [
        ({"saturation": 0.5}, False, 1, "saturation is 0.5, but the images are grey"),
        ({"hue": 0.1}, True, 1, "hue is 0.1, but the images are grey"),
        ({"mixup": 0.2}, True, 1, "mixup is 0.2, but masks cannot be blended"),
        (AUGMIX, True, 3, "policy is 'augmix', but masks cannot be blended"),
        ({"cutmix": 0.6, "mixup": 0.6}, False, 3, "cutmix is 0.6 and mixup 0.6"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], dense: bool, channels: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Augmentation(config(**changes), dense, channels)


def test_light_follows_the_formulas_of_keras() -> None:
    import keras

    images = colourful(low=100, high=140)
    relit = changed_by(appearance.relight, images, 0.3, 0.3, random(1))
    drawn = random(1)
    shift = drawn.uniform(-0.3, 0.3, (6, 1, 1, 1)) * 127.5
    shift = np.where(shift > 0, shift, shift * images.mean(axis=(1, 2, 3), keepdims=True) / 255)
    stretch = drawn.uniform(1 - 0.8 * 0.3, 1 + 0.3, (6, 1, 1, 1))
    contrast = keras.layers.RandomContrast(0.5, data_format="channels_last")
    expected = contrast.transform_images(keras.ops.convert_to_tensor(images), {"contrast_factor": stretch})
    expected = keras.layers.RandomBrightness(0.5).transform_images(expected, {"rgb_delta": shift})
    np.testing.assert_allclose(relit, keras.ops.convert_to_numpy(expected), atol=1e-3)


def test_colour_follows_the_formulas_of_keras() -> None:
    import keras

    images = colourful()
    factor = np.array([0.2, 0.5, 1, 1.5, 3, 9], np.float32)
    turn = np.array([0.5, -0.5, 0, 0.1, -0.1, 0.3], np.float32)
    changed = images.copy()
    for image, scaled, turned in zip(changed, factor, turn, strict=True):
        appearance._shift_hue(image, scaled, turned)
    # the layer clips the saturation, not the pixels, to its value range
    saturation = keras.layers.RandomSaturation(1.0, value_range=(0, 1), data_format="channels_last")
    expected = saturation.transform_images(keras.ops.convert_to_tensor(images), {"factor": factor})
    hue = keras.layers.RandomHue(1.0, data_format="channels_last")
    expected = hue.transform_images(expected, {"factor": turn})
    np.testing.assert_allclose(changed, keras.ops.convert_to_numpy(expected), atol=0.02)


def test_strengths_span_their_ranges() -> None:
    images = np.full((300, 4, 4, 1), 100, np.float32)
    images[:, :2] = 110
    means = changed_by(appearance.relight, images, 0.5, 0.0, random()).mean(axis=(1, 2, 3)) - 105
    assert -0.25 * 105 <= means.min() < -0.24 * 105
    assert 62 < means.max() <= 0.25 * 255
    spread = changed_by(appearance.relight, images, 0.0, 0.5, random()).std(axis=(1, 2, 3)) / 5
    assert 0.6 <= spread.min() < 0.62
    assert 1.48 < spread.max() <= 1.5


def test_colour_of_many_images_is_drawn_for_each() -> None:
    images = colourful(1).repeat(20, axis=0)
    changed = changed_by(appearance.recolour, images, 0.5, 0.1, random())
    assert changed.shape == images.shape
    assert len({image.tobytes() for image in changed}) == 20


def test_grey_stays_grey_under_colour() -> None:
    grey = colourful(channels=1).repeat(3, axis=-1)
    np.testing.assert_allclose(changed_by(appearance.recolour, grey, 1.0, 0.5, random()), grey, atol=1e-4)


def test_blur_keeps_flat_images_and_their_borders() -> None:
    flat = np.full((8, 24, 32, 3), 90, np.float32)
    np.testing.assert_allclose(changed_by(appearance.blur, flat, 1.0, random()), 90, atol=1e-3)


def test_blur_is_a_gaussian() -> None:
    point = np.zeros((1, 81, 81, 1), np.float32)
    point[0, 40, 40] = 1
    blurred = changed_by(appearance.blur, point, 1.0, random(1))[0, ..., 0]
    drawn = random(1)
    drawn.random(1)
    sigma = drawn.uniform(0.005, 0.025) * 81
    assert blurred.sum() == pytest.approx(1, abs=1e-4)
    for y, x in ((0, 1), (2, 0), (2, 1)):
        expected = np.exp(-(y**2 + x**2) / (2 * sigma**2))
        assert blurred[40 + y, 40 + x] / blurred[40, 40] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("change", "arguments"),
    [(appearance.prime, ()), (appearance.shade, ()), (appearance.blur, ()), (mixing.erase, (1,)), (mixing.erase, (3,))],
)
def test_single_images_are_chosen_with_the_probability(change: Any, arguments: tuple[int, ...]) -> None:
    images = colourful(200)
    changed = (changed_by(change, images, 0.3, *arguments, random()) != images).any(axis=(1, 2, 3))
    assert 40 < changed.sum() < 80


def test_erasing_covers_a_box_with_one_colour() -> None:
    images = colourful(50)
    erased = changed_by(mixing.erase, images, 1.0, 1, random())
    for before, after in zip(images, erased, strict=True):
        covered = (before != after).any(axis=-1)
        rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
        assert covered[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert len(np.unique(after[covered], axis=0)) == 1
        assert 0.01 < covered.mean() < 0.36


def test_erasing_covers_up_to_so_many_boxes() -> None:
    from scipy import ndimage

    images = np.full((300, 64, 64, 1), 100, np.float32)
    images[:, ::2] = 140
    covered = (changed_by(mixing.erase, images, 1.0, 4, random()) != images)[..., 0]
    counts = [ndimage.label(one)[1] for one in covered]
    assert max(counts) == 4
    # a quarter of the images get one box; the boxes of others may touch or overlap
    assert 0.25 < np.mean(np.array(counts) == 1) < 0.6
    # all boxes together are as large as a single box would be: a third of the image at most
    assert covered.mean(axis=(1, 2)).min() > 0
    assert covered.mean(axis=(1, 2)).max() < 0.36


def test_half_of_several_boxes_are_noise_about_the_images_colours() -> None:
    images = np.full((400, 48, 48, 1), 100, np.float32)
    images[:, ::2] = 140
    erased = changed_by(mixing.erase, images, 1.0, 2, random())
    values = [after[(after != 100) & (after != 140)] for after in erased]
    # a box of one colour has one value, a box of noise about as many values as pixels
    assert 0.35 < np.mean([len(np.unique(one)) > 2 for one in values]) < 0.75
    noise = np.concatenate([one for one in values if len(np.unique(one)) > 2])
    assert noise.mean() == pytest.approx(120, abs=1)
    assert noise.std() == pytest.approx(20, rel=0.1)


def test_prime_mixes_image_curve_and_filter() -> None:
    images = colourful(4).round()
    changed = changed_by(appearance.prime, images, 1.0, random(1))
    drawn = random(1)
    drawn.random(4)
    shares = drawn.dirichlet(np.ones(3), 4)
    amplitudes = drawn.normal(0, 0.1, (4, 1, 4, 3))
    weights = drawn.normal(0, 0.1, (4, 3, 3))
    for i, image in enumerate(images.astype(np.float64)):
        sines = [a * np.sin(np.pi * k * image / 255) for k, a in enumerate(amplitudes[i, 0], start=1)]
        curved = (image + 255 * sum(sines)).clip(0, 255)
        padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="symmetric")
        added = [
            (weights[i, y, x] - weights[i].mean()) * padded[y : y + 24, x : x + 32] for y in range(3) for x in range(3)
        ]
        expected = shares[i, 0] * image + shares[i, 1] * curved + shares[i, 2] * (image + sum(added))
        np.testing.assert_allclose(changed[i], expected.clip(0, 255), atol=1e-2)


def test_filters_leave_flat_images_alone_and_curves_keep_black() -> None:
    np.testing.assert_allclose(appearance._kernels(50, random()).sum(axis=(1, 2)), 1)
    curves = appearance._curves(50, 3, random())
    assert curves.shape == (50, 1, 256, 3)
    np.testing.assert_allclose(curves[:, 0, 0], 0)
    np.testing.assert_allclose(curves[:, 0, 255], 255)
    # sines are zero at the ends; between them the curves differ by image and channel
    assert curves[:, 0, 128].std() > 20
    black = np.zeros((8, 24, 32, 1), np.float32)
    np.testing.assert_allclose(changed_by(appearance.prime, black, 1.0, random()), 0, atol=1e-4)


def test_shading_scales_and_lifts_channels_within_a_smooth_region(monkeypatch: pytest.MonkeyPatch) -> None:
    region = np.linspace(0, 1, 32, dtype=np.float32)[None].repeat(24, axis=0)
    monkeypatch.setattr(appearance, "_region", lambda height, width, random: region)
    images = colourful(6, high=64)
    drawn = random(1)
    drawn.random(6)
    gains, lifts = drawn.uniform(0.1, 1.2, (6, 3)), drawn.uniform(0, 102, (6, 3)) * (drawn.random((6, 1)) < 0.5)
    expected = images + region[..., None] * (images * (gains - 1)[:, None, None] + lifts[:, None, None])
    np.testing.assert_allclose(changed_by(appearance.shade, images, 1.0, random(1)), expected, atol=1e-3)
    assert {bool(lift.any()) for lift in lifts} == {True, False}


def test_regions_are_smooth_and_cover_any_share() -> None:
    drawn = random()
    regions = np.stack([appearance._region(96, 96, drawn) for _ in range(200)])
    assert regions.min() == 0
    assert regions.max() == 1
    covered = regions.mean(axis=(1, 2))
    assert covered.min() < 0.1 < 0.4 < np.median(covered) < 0.6 < 0.9 < covered.max()
    # a region fades in over several pixels: it has no sharp edge
    assert max(np.abs(np.diff(regions, axis=axis)).max() for axis in (1, 2)) < 0.6


def test_boxes_reach_every_border_and_never_beyond() -> None:
    sides = np.full(300, 0.5)
    boxes = np.zeros((300, 4, 6), bool)
    for box, rows, columns in zip(boxes, *mixing.boxes(4, 6, sides, sides, random()), strict=True):
        box[rows, columns] = True
    np.testing.assert_array_equal(boxes.sum(axis=(1, 2)), 2 * 3)
    assert boxes.any(axis=0).all()


def test_cutmix_mixes_labels_by_area() -> None:
    images = np.broadcast_to(np.arange(8, dtype=np.float32)[:, None, None, None], (8, 20, 30, 1))
    mixed, shares = mixing.cutmix(images, np.eye(8, dtype=np.float32), False, random(2))
    for image, share in zip(mixed, shares, strict=True):
        counted = np.bincount(image.astype(int).ravel(), minlength=8) / image.size
        np.testing.assert_allclose(share, counted, atol=1e-6)
    assert ((shares > 0).sum(axis=1) == 2).any()


def test_cutmix_pastes_masks() -> None:
    images, masks = batch()
    mixed, pasted = mixing.cutmix(images.astype(np.float32), masks, True, random(2))
    np.testing.assert_array_equal(mixed[..., 0], 50 * pasted)
    assert pasted.dtype == np.uint8
    assert (pasted != masks).any()


def test_mixup_blends_images_as_their_shares() -> None:
    images = np.broadcast_to(np.arange(8, dtype=np.float32)[:, None, None, None], (8, 4, 4, 3))
    mixed, shares = mixing.mixup(images, np.eye(8, dtype=np.float32), random(2))
    np.testing.assert_allclose(mixed[:, 0, 0, 0], shares @ np.arange(8), atol=1e-5)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
    assert (shares.max(axis=1) < 1).any()


def test_a_batch_is_mixed_in_one_way() -> None:
    images = random().integers(0, 256, (8, 8, 8, 3), dtype=np.uint8)
    either = Augmentation(config(cutmix=0.3, mixup=0.3), False, 3)
    kinds = {"cut": 0, "blended": 0, "kept": 0}
    for seed in range(200):
        changed, shares = either(images, np.eye(8, dtype=np.float32), random(seed))
        whole = (changed == changed.round()).all()
        kinds["kept" if (shares == np.eye(8)).all() else "cut" if whole else "blended"] += 1
    # about 60 of each; fewer where boxes are empty or images their own partners
    assert 30 < kinds["cut"] < 80
    assert 40 < kinds["blended"] < 80


def test_masks_follow_randaugment() -> None:
    images, masks = batch(64)
    chains = policy.Chains(np.full((64, 2), "shift_x"), np.full((64, 2), 8 / (2 * 0.3 * 32), np.float32))
    moved, followed = geometry.warp(images.astype(np.float32), masks, chains.transforms(32, 32))
    assert followed is not None
    np.testing.assert_allclose(moved[:, :, :-8], images[:, :, 8:], atol=1e-2)
    np.testing.assert_array_equal(followed[:, :, :-8], masks[:, :, 8:])


def test_policies_draw_for_each_image() -> None:
    chains = policy.randaugment(200, 3, 0.5, random())
    assert set(chains.names.ravel()) == {*policy._GEOMETRIC, *policy._POINTWISE}
    assert np.abs(chains.amounts).max() <= 0.5
    assert "colour" not in policy.randaugment(200, 1, 0.5, random()).names


@pytest.mark.parametrize("name", ["posterize", "solarize", "colour", "contrast", "brightness", "sharpness"])
def test_changes_of_no_amount_change_nothing(name: str) -> None:
    images = colourful(low=10, high=240).round()
    same = policy.Chains(np.full((6, 1), name), np.zeros((6, 1), np.float32))(images)
    np.testing.assert_allclose(same, images, atol=1e-3)


def test_changes_of_known_amounts() -> None:
    def changed(name: str, amount: float, images: Any) -> NDArray[np.float32]:
        size = len(images)
        return policy.Chains(np.full((size, 1), name), np.full((size, 1), amount, np.float32))(images)

    images = colourful().round()
    np.testing.assert_array_equal(changed("posterize", -1.0, images), images // 16 * 16)
    np.testing.assert_allclose(changed("solarize", 0.5, images), np.where(images < 127.5, images, 255 - images))
    np.testing.assert_allclose(changed("brightness", 0.2, images), np.minimum(images + 25.5, 255), atol=1e-3)
    stretched = changed("autocontrast", 0.5, 0.5 * images + 20)
    assert (stretched.min(axis=(1, 2)) == 0).all()
    np.testing.assert_allclose(stretched.max(axis=(1, 2)), 255, atol=1e-3)


def test_sharpness_leaves_flat_borders_alone() -> None:
    flat = np.full((2, 8, 8, 3), 90, np.float32)
    same = policy.Chains(np.full((2, 1), "sharpness"), np.array([[1.0], [-1.0]], np.float32))(flat)
    np.testing.assert_allclose(same, 90, atol=1e-3)


def test_augmix_of_no_strength_only_stretches_contrast() -> None:
    # black and white pixels in each channel leave the contrast nothing to stretch
    images = colourful().round()
    images[:, 0, 0], images[:, 0, 1] = 0, 255
    mixed = policy.augmix(images, 0.0, random())
    np.testing.assert_allclose(mixed, images, atol=1e-2)


def test_turns_and_zooms_span_their_ranges() -> None:
    turned = geometry.rotations_and_zooms(3000, 0.1, 0.3, random())
    turns = np.arctan2(turned[:, 1, 0], turned[:, 0, 0]) / (2 * np.pi)
    zooms = 1 / np.hypot(turned[:, 0, 0], turned[:, 1, 0])
    assert (turns.min(), turns.max()) == pytest.approx((-0.1, 0.1), abs=0.002)
    assert (zooms.min(), zooms.max()) == pytest.approx((0.7, 1.3), abs=0.01)


def test_each_key_reaches_its_own_change(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, tuple[Any, ...]] = {}

    def listen(module: Any, name: str) -> None:
        change = getattr(module, name)

        def heard(*arguments: Any) -> Any:
            told[name] = tuple(each for each in arguments if isinstance(each, int | float | str))
            return change(*arguments)

        monkeypatch.setattr(module, name, heard)

    places = {geometry: ("flips", "rotations_and_zooms"), mixing: ("erase",), policy: ("augmix",)}
    for module, names in (places | {appearance: ("relight", "recolour", "prime", "shade", "blur")}).items():
        for name in names:
            listen(module, name)
    keys = {"flip": "horizontal", "rotation": 0.1, "zoom": 0.2, "brightness": 0.3, "contrast": 0.4, "saturation": 0.5}
    keys |= {"hue": 0.05, "prime": 0.6, "shading": 0.7, "blur": 0.8, "erasing": 0.9, "erasing_boxes": 2}
    keys |= {"policy": "augmix", "policy_strength": 0.15}
    Augmentation(config(**keys), False, 3)(colourful().astype(np.uint8), np.eye(6, dtype=np.float32), random())
    assert told == {
        "flips": (6, "horizontal", False),
        "rotations_and_zooms": (6, 0.1, 0.2),
        "augmix": (0.15,),
        "relight": (0.3, 0.4),
        "recolour": (0.5, 0.05),
        "prime": (0.6,),
        "shade": (0.7,),
        "blur": (0.8,),
        "erase": (0.9, 2),
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rotate", {"angle": np.pi / 6}),
        ("shear_x", {"shear_x": 0.3}),
        ("shear_y", {"shear_y": 0.3}),
        ("shift_x", {"shift_x": 0.3 * 64}),
        ("shift_y", {"shift_y": 0.3 * 32}),
    ],
)
def test_geometric_changes_of_half_an_amount_do_half(name: str, expected: dict[str, float]) -> None:
    chains = policy.Chains(np.array([["", name]]), np.array([[1, -0.5]], np.float32))
    halves = {key: -value / 2 for key, value in expected.items()}
    np.testing.assert_allclose(chains.transforms(32, 64), geometry.affine(**halves), atol=1e-6)


def test_each_image_is_changed_by_its_own_amount() -> None:
    images = colourful(4, low=10, high=100).round()
    names = np.array([["posterize"], ["brightness"], ["posterize"], ["brightness"]])
    changed = policy.Chains(names, np.array([[-1.0], [0.2], [0.5], [0.4]], np.float32))(images)
    np.testing.assert_allclose(changed[1], images[1] + 25.5, atol=1e-3)
    np.testing.assert_allclose(changed[3], images[3] + 51, atol=1e-3)


def test_policies_are_as_strong_as_asked() -> None:
    amounts = policy.randaugment(300, 3, 0.5, random()).amounts
    assert (amounts.min(), amounts.max()) == pytest.approx((-0.5, 0.5), abs=0.01)
    images = colourful()
    changes = [np.abs(policy.augmix(images, strength, random()) - images).mean() for strength in (0.0, 0.3, 1.0)]
    assert changes[0] + 5 < changes[1] < changes[2]
