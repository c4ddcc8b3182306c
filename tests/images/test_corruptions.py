"""Each corruption damages a drawn cell, and damages it more at a higher severity."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from terracyte import params, tasks
from terracyte.images.shift.corruptions import CORRUPTIONS, SEVERITIES, _dye, corrupt


def cell(size: int = 96) -> NDArray[np.uint8]:
    """A speckled violet disc on a pale ground."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    speckle = np.random.default_rng(0).normal(0, 8, (size, size, 1))
    disc = (np.hypot(y, x) < 0.3)[..., None]
    painted: NDArray[np.uint8] = np.where(disc, np.add([90, 50, 140], speckle), [235, 215, 205]).astype(np.uint8)
    return painted


def damaged(name: str, severity: float, seed: int = 0, image: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    return corrupt(cell() if image is None else image, name, severity, np.random.default_rng(seed))


def change(name: str, severity: float) -> float:
    """Mean absolute change over a few draws."""
    return float(np.mean([np.abs(damaged(name, severity, seed) - cell().astype(float)).mean() for seed in range(8)]))


def test_the_task_is_scored_under_all_eleven(project: Path) -> None:
    blood = tasks.make("blood", params.load())
    assert blood.corruptions == tuple(CORRUPTIONS)
    assert len(CORRUPTIONS) == 11


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_damage_grows_with_severity(name: str) -> None:
    changes = [change(name, severity) for severity in SEVERITIES]
    assert changes == sorted(changes)
    assert 0.5 < changes[0] < 0.6 * changes[4]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_generator_decides_all(name: str) -> None:
    np.testing.assert_array_equal(damaged(name, 3, seed=1), damaged(name, 3, seed=1))
    random = {"saturation", "motion_blur", "noise", "stain"}
    assert (len({damaged(name, 3, seed).tobytes() for seed in range(8)}) > 1) == (name in random)


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("shape", [(96, 96, 3), (40, 57, 3), (32, 32, 1)])
def test_any_size_and_a_single_channel_will_do(name: str, shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    before = image.copy()
    shown = damaged(name, 5, image=image)
    assert shown.shape == shape
    assert shown.dtype == np.uint8
    np.testing.assert_array_equal(image, before)


def test_stains_of_the_validation_copy_are_others_and_grow_as_well() -> None:
    def washed(severity: float, seed: int) -> NDArray[np.uint8]:
        return corrupt(cell(), "stain", severity, np.random.default_rng(seed), stand_in=True)

    changes = [np.mean([cell() - washed(severity, seed).astype(float) for seed in range(8)]) for severity in SEVERITIES]
    assert changes == sorted(changes)
    assert 5 < changes[0] < 0.6 * changes[4]
    assert not any(np.array_equal(washed(3, seed), damaged("stain", 3, seed)) for seed in range(8))
    # dye only absorbs light
    assert all((washed(5, seed) <= cell() + 1.0).all() for seed in range(8))


def test_dye_follows_the_law_of_beer_and_lambert() -> None:
    """At twice the density, the share of light that passes is squared."""
    white = np.full((32, 32, 3), 1, np.float32)
    thin, thick = (
        _dye(white, np.full((32, 32, 1), density, np.float32), np.random.default_rng(0)) for density in (0.5, 1.0)
    )
    np.testing.assert_allclose(thick, thin**2, rtol=1e-5)


def test_brightness_and_contrast_go_where_they_say() -> None:
    mean, spread = cell().mean(), cell().std()
    assert damaged("brightness_up", 3).mean() > mean + 20
    assert damaged("brightness_down", 3).mean() < mean - 20
    assert damaged("contrast_up", 1).std() > 1.1 * spread
    assert damaged("contrast_down", 3).std() == pytest.approx(0.42 * spread, rel=0.02)
    # A severity halfway between two has the mean of their strengths.
    assert damaged("contrast_down", 3.5).std() == pytest.approx(0.36 * spread, rel=0.02)


def test_saturation_keeps_the_lightness_and_goes_both_ways() -> None:
    spread = [np.ptp(damaged("saturation", 1, seed), axis=-1).mean() for seed in range(8)]
    assert min(spread) < np.ptp(cell(), axis=-1).mean() < max(spread)
    pale = damaged("saturation", 5, seed=int(np.argmin(spread)))
    lightness = (cell().max(axis=-1) / 2 + cell().min(axis=-1) / 2)[..., None]
    np.testing.assert_allclose(pale, lightness.repeat(3, axis=-1), atol=1)


@pytest.mark.parametrize("name", ["defocus_blur", "motion_blur"])
def test_blur_spreads_a_point_and_keeps_its_light(name: str) -> None:
    point = np.zeros((41, 41, 3), np.uint8)
    point[18:23, 18:23] = 255
    shown = damaged(name, 5, image=point).astype(float)
    assert shown.sum() == pytest.approx(point.sum(dtype=float), rel=0.02)
    assert shown.max() < 250
    y, x = np.nonzero(shown[..., 0])
    assert (y.mean(), x.mean()) == pytest.approx((20, 20), abs=0.5)
    # Blur leaves a uniform image unchanged, its border included.
    even = np.full((30, 50, 3), 77, np.uint8)
    np.testing.assert_array_equal(damaged(name, 5, image=even), even)


def test_noise_is_stronger_in_the_light_and_without_bias() -> None:
    ramp = np.full((64, 64, 3), 30, np.uint8)
    ramp[:, 32:] = 120
    shown = damaged("noise", 1, image=ramp).astype(float)
    assert shown[:, :32].mean() == pytest.approx(30, abs=1)
    assert shown[:, 32:].mean() == pytest.approx(120, abs=1)
    assert shown[:, 32:].std() > 1.5 * shown[:, :32].std()


def test_pixelation_shows_few_big_pixels() -> None:
    image = np.random.default_rng(2).integers(0, 256, (96, 96, 3), np.uint8)
    shown = damaged("pixelation", 5, image=image)
    steps = (np.abs(np.diff(shown.astype(int), axis=1)).sum(axis=(0, 2)) > 0).sum()
    assert steps == 19  # 96 / 4.8 = 20 columns


def contour(name: str, severity: float, channels: int, seed: int) -> int:
    """Return by how many pixels a corruption moves the contour between an image's two sides, averaged over its rows."""
    column = 24 + seed
    right = np.arange(64) >= column
    image = np.where(right, 190, 60).astype(np.uint8)[None, :, None].repeat(64, axis=0).repeat(channels, axis=-1)
    shown = damaged(name, severity, seed, image).mean(axis=(0, 2))
    seen = shown > (shown[:8].mean() + shown[-8:].mean()) / 2
    return abs(column - int(np.argmax(seen)))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("severity", [3, 5])
@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if name != "stain"])
def test_contours_stay_but_under_pixelation(name: str, severity: int, channels: int) -> None:
    """So masks stay true; pixelation is refused for tasks with masks. Stains are left out, as they are transparent."""
    moved = {contour(name, severity, channels, seed) for seed in range(12)}
    assert (moved == {0}) == (name != "pixelation")
