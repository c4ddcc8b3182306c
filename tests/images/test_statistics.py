import hashlib

import numpy as np
import pandas as pd
import pytest

from terracyte.images.similarity.thumbnails import grey, thumbnails
from terracyte.images.statistics import STATISTICS, describe, describe_masks, perceptual_hash
from tests.pictures import BLOOD, MARS, Images, random_masks, textures


def flat(value: int, channels: int = 1) -> Images:
    return np.full((1, 32, 64, channels), value, np.uint8)


def chessboard() -> Images:
    rows, columns = np.indices((32, 64))
    return (255 * ((rows + columns) % 2))[None, ..., None].astype(np.uint8)


def colour(red: int, green: int, blue: int) -> Images:
    return np.broadcast_to(np.array([red, green, blue], np.uint8), (1, 48, 48, 3)).copy()


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (flat(100), {"brightness": 100, "contrast": 0, "sharpness": 0, "saturation": 0}),
        # Each inner pixel differs by 255 from its four neighbours: Laplacian ±1020, half of each sign.
        (chessboard(), {"brightness": 127.5, "contrast": 127.5, "sharpness": 1020**2, "saturation": 0}),
        (colour(200, 0, 0), {"brightness": 0.299 * 200, "contrast": 0, "sharpness": 0, "saturation": 1}),
        (colour(200, 150, 100), {"brightness": 159.25, "contrast": 0, "sharpness": 0, "saturation": 0.5}),
        (colour(0, 0, 0), {"brightness": 0, "contrast": 0, "sharpness": 0, "saturation": 0}),
    ],
)
def test_statistics_in_closed_form(images: Images, expected: dict[str, float]) -> None:
    row = describe(images).iloc[0]
    assert row[list(STATISTICS)].to_dict() == pytest.approx(expected, abs=1e-6)


def test_content_hash_is_that_of_the_pixels() -> None:
    images = textures(BLOOD, 2)[[0, 1, 0]]
    hashes = describe(images)["content_hash"]
    assert hashes[0] == hashlib.sha256(images[0].tobytes()).hexdigest()
    assert hashes[0] == hashes[2] != hashes[1]


def test_masks_are_counted_hashed_and_checked_for_variety() -> None:
    masks = np.zeros((3, 32, 64), np.uint8)
    masks[1, :8] = 2
    masks[2] = 1
    table = describe_masks(masks, 3)
    assert table[["pixels_0", "pixels_1", "pixels_2"]].to_numpy().tolist() == [
        [2048, 0, 0],
        [1536, 0, 512],
        [0, 2048, 0],
    ]
    assert table["mask_constant"].tolist() == [True, False, True]
    assert table["mask_hash"].tolist() == [hashlib.sha256(mask.tobytes()).hexdigest() for mask in masks]


def test_rows_do_not_depend_on_their_neighbours() -> None:
    images, masks = textures(MARS, 70), random_masks(70)
    parts = slice(0, 33), slice(33, 70)
    tables = pd.concat([describe(images[rows]) for rows in parts], ignore_index=True)
    pd.testing.assert_frame_equal(describe(images), tables)
    tables = pd.concat([describe_masks(masks[rows], 3) for rows in parts], ignore_index=True)
    pd.testing.assert_frame_equal(describe_masks(masks, 3), tables)


def hashes(images: Images) -> list[int]:
    return [int(code) for code in perceptual_hash(thumbnails(grey(images)))]


def test_perceptual_hash_ignores_light_and_tells_pictures_apart() -> None:
    image = textures(BLOOD, 1).astype(np.float64)
    changed = [image, image + 20, (image - 120) * 0.7 + 120, image + np.linspace(-20, 20, 48)[None, None, :, None]]
    first, *relit = hashes(np.concatenate(changed).clip(0, 255).astype(np.uint8))
    assert max((first ^ other).bit_count() for other in relit) <= 4
    others = hashes(textures(BLOOD, 200, seed=1))
    assert min((first ^ other).bit_count() for other in others) > 12
    assert np.mean([(first ^ other).bit_count() for other in others]) == pytest.approx(32, abs=3)


def test_flat_pictures_share_a_hash_without_noise() -> None:
    assert hashes(np.concatenate([flat(value) for value in (0, 1, 77, 255)])) == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("height", "width", "expected"), [(96, 96, (48, 48)), (64, 128, (32, 64)), (224, 224, (44, 44)), (32, 32, (32, 32))]
)
def test_thumbnails_have_about_48_by_48_pixels(height: int, width: int, expected: tuple[int, int]) -> None:
    values = np.random.default_rng(0).uniform(0, 255, (2, height, width))
    assert thumbnails(values).shape == (2, *expected)
