"""The quick reader of requests reads what JSON's own reader does, or leaves it."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from terracyte.serve import pixels

SHAPE = (2, 3, 1)


def images(count: int) -> Any:
    """Whole numbers of all lengths."""
    return np.array([0, 7, 10, 99, 100, 255] * count).reshape(count, *SHAPE)


@pytest.mark.parametrize("separators", [(", ", ": "), (",", ":")])
@pytest.mark.parametrize("count", [1, 4])
def test_the_usual_request_is_read(count: int, separators: tuple[str, str]) -> None:
    body = json.dumps({"inputs": images(count).tolist()}, separators=separators).encode()
    found = pixels.read(body, SHAPE, 4)
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
        ("[10]", "[1 0]"),
        ("[10]", "[1  0]"),
        ("[10]", "[1]0"),
        ("[10]", "[]10"),
        ("[10]", "[010]"),
        ("[0]", "[00]"),
        ("[7]", "[256]"),
        ("[7]", "[1000]"),
        ("[7]", "[7, 7]"),
        ("[7]", "[true]"),
        ("[7]", "[\\n7]"),
        ("[255]]]]", "[255]]]], [[[[1]]]]"),
        ("[255]]]]", "[255]]]"),
        ("{", ""),
        ("}", ""),
    ],
)
def test_any_other_request_is_left(old: str, new: str) -> None:
    assert pixels.read(USUAL.replace(old, new).encode(), SHAPE, 4) is None


@pytest.mark.parametrize("body", [b"", b"{}", b'{"inputs": []}', b'{"inputs": 1}', b'{"inputs": }', b"\xff" * 200])
def test_so_are_requests_without_images(body: bytes) -> None:
    assert pixels.read(body, SHAPE, 4) is None


def test_so_are_more_images_than_allowed() -> None:
    assert pixels.read(json.dumps({"inputs": images(5).tolist()}).encode(), SHAPE, 4) is None


@given(st.integers(0, len(USUAL) - 1), st.sampled_from(' 09,[]{}"-.e\n\t'), st.booleans())
def test_what_is_read_is_what_json_reads(place: int, character: str, inserted: bool) -> None:
    body = USUAL[:place] + character + USUAL[place if inserted else place + 1 :]
    found = pixels.read(body.encode(), SHAPE, 4)
    if found is not None:
        assert np.array_equal(found, json.loads(body)["inputs"])
