"""Reading requests for predictions."""

import json
from typing import Any

import numpy as np
import pytest

from terracyte.core.errors import InputError
from terracyte.serve import pixels

SHAPE = (2, 3, 1)


def images(count: int) -> Any:
    """Return images (n, h, w, c) whose pixels have one, two or three digits."""
    return np.array([0, 7, 10, 99, 100, 255] * count).reshape(count, *SHAPE)


@pytest.mark.parametrize("key", ["inputs", "instances"])
@pytest.mark.parametrize("change", [lambda array: array, lambda array: array + 0.4, lambda array: array - 0.0])
def test_pixels_are_read_and_rounded(key: str, change: Any) -> None:
    body = json.dumps({key: change(np.minimum(images(4), 254)).tolist()}).encode()
    found = pixels.read(body, SHAPE)
    assert found.dtype == np.uint8
    assert np.array_equal(found, np.minimum(images(4), 254))


USUAL = json.dumps({"inputs": images(1).tolist()})


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("inputs", "input", "the request must be"),
        ("}", ', "params": {}}', "the request must be"),
        ("[7]", "[-7]", "range from -7 to 255"),
        ("[7]", "[007]", "not valid JSON"),
        ("[7]", "[256]", "range from 0 to 256"),
        ("[7]", "[7, 7]", "differ in length"),
        ("[7]", "[null]", "a pixel is not a number"),
        ("[7]", '["7"]', "a pixel is not a number"),
        ("[7]", "[99999999999999999999]", "a pixel is not a number"),
        ("[7]", "[NaN]", "not a finite number"),
        ("[255]]]]", "[255]]]", "not valid JSON"),
        ("[[[[", "[[[[[", "not valid JSON"),
    ],
)
def test_other_requests_are_refused(old: str, new: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        pixels.read(USUAL.replace(old, new).encode(), SHAPE)
