"""The fast reader of requests reads usual ones exactly, and leaves all others to MLflow."""

import json
from typing import Any

import numpy as np
import pytest

from terracyte.serve import pixels

SHAPE = (2, 3, 1)


def images(count: int) -> Any:
    """Return images (n, h, w, c) whose pixels have one, two or three digits."""
    return np.array([0, 7, 10, 99, 100, 255] * count).reshape(count, *SHAPE)


@pytest.mark.parametrize("count", [1, 4])
def test_the_usual_request_is_read(count: int) -> None:
    found = pixels.read(json.dumps({"inputs": images(count).tolist()}).encode(), SHAPE, 4)
    assert found is not None
    assert found.dtype == np.uint8
    assert np.array_equal(found, images(count))


USUAL = json.dumps({"inputs": images(1).tolist()})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("inputs", "instances"),
        ("}", ', "params": {}}'),
        ("[7]", "[7.0]"),
        ("[7]", "[-7]"),
        ("[7]", "[007]"),
        ("[7]", "[256]"),
        ("[7]", "[7, 7]"),
        ("[7]", "[true]"),
        ("[255]]]]", "[255]]]"),
    ],
)
def test_any_other_request_is_left(old: str, new: str) -> None:
    assert pixels.read(USUAL.replace(old, new).encode(), SHAPE, 4) is None


@pytest.mark.parametrize("body", [b"", b"{}", b'{"inputs": []}', b'{"inputs": 1}', b"\xff" * 200])
def test_so_are_requests_without_images(body: bytes) -> None:
    assert pixels.read(body, SHAPE, 4) is None


def test_so_are_more_images_than_allowed() -> None:
    assert pixels.read(json.dumps({"inputs": images(5).tolist()}).encode(), SHAPE, 4) is None
