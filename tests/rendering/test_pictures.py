"""Photographs, coloured masks and overlays."""

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from terracyte.rendering import pictures


def pixels(uri: str) -> Any:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGB"))


def test_masks_are_painted_in_the_palette_and_dimmed() -> None:
    mask = np.arange(4, dtype=np.uint8).reshape(2, 2) + 1
    palette = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in pictures.PALETTE]
    np.testing.assert_array_equal(pixels(pictures.painted(mask)).reshape(4, 3), palette[1:5])
    dimmed = pixels(pictures.painted(mask, np.array([[True, False], [False, False]])))
    assert abs(dimmed[0, 0].astype(int) - palette[0]).sum() < abs(dimmed[0, 0].astype(int) - palette[1]).sum()
    np.testing.assert_array_equal(dimmed[0, 1], palette[2])


@pytest.mark.parametrize("channels", [1, 3])
def test_photographs_keep_their_size_and_grey_values(channels: int) -> None:
    shown = pixels(pictures.photograph(np.full((8, 16, channels), 120, np.uint8)))
    assert shown.shape == (8, 16, 3)
    np.testing.assert_allclose(shown, 120, atol=2)


def test_overlays_mix_image_and_colours() -> None:
    mixed = np.asarray(pictures.overlaid(np.array([[[0], [200]]], np.uint8), np.array([[1, 2]])))
    # 45 % of #c1693c; 55 % of 200 and 45 % of #56b4e9
    assert mixed.tolist() == [[[87, 47, 27], [149, 191, 215]]]
