"""Reads a request for predictions, `{"inputs": [image, …]}`, in the form of MLflow's scoring server."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terracyte.core.errors import InputError
from terracyte.serve.answers import problem

_FORM = 'the request must be {"inputs": [image, ...]} with at least one image'
_KEYS = ("inputs", "instances")  # MLflow takes both names


def read(body: bytes, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return the images of a request (n, h, w, c), 0-255; pixels with a point are rounded.

    Args:
        body: the request's body.
        shape: (h, w, c) of an image.

    Raises:
        InputError: the body has another form, or see `problem`.
    """
    images = _array(_content(body))
    if images.shape[1:] != shape:
        wanted = ", ".join(map(str, shape))
        raise InputError(f"the images have the shape {images.shape}; it must be (n, {wanted})")
    if wrong := problem(images):
        raise InputError(wrong)
    pixels: NDArray[np.uint8] = np.rint(images).astype(np.uint8)
    return pixels


def _content(body: bytes) -> list[Any]:
    try:
        content = json.loads(body)
    except RecursionError as error:  # lists within lists
        raise InputError(_FORM) from error
    except ValueError as error:  # also a number of thousands of digits
        raise InputError(f"the request is not valid JSON: {_FORM}") from error
    images = next(iter(content.values())) if isinstance(content, dict) and len(content) == 1 else None
    if not isinstance(images, list) or not images or content.keys().isdisjoint(_KEYS):
        raise InputError(_FORM)
    return images


def _array(images: list[Any]) -> NDArray[Any]:
    try:
        found = np.array(images)
    except ValueError as error:
        raise InputError("the images, or the rows of an image, differ in length: send images of one size") from error
    if found.dtype.kind not in "iuf":  # also numbers beyond 64 bits
        raise InputError("a pixel is not a number: pixels must be in 0-255")
    return found
