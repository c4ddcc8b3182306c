"""Arrays of any integer or float type → pixels and classes of the raw form."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from terracyte.core.errors import InputError
from terracyte.ingest.sources.npz import Member


def expect_shape(member: Member, *shape: int | None) -> None:
    """Refuse another shape; None stands for any length.

    Raises:
        InputError: naming both shapes.
    """
    matches = [wanted in (None, got) for wanted, got in zip(shape, member.shape, strict=False)]
    if len(shape) != len(member.shape) or not all(matches):
        wanted = ", ".join("n" if length is None else str(length) for length in shape)
        raise InputError(
            f"{member.where} has shape {member.shape}; it must be ({wanted}): "
            "give the matching file, or the height, width and channels of its images in params.yaml"
        )


def row_names(member: Member, first: int, count: int) -> list[str]:
    """`images[0]`, `images[1]` …"""
    return [f"{member.key}[{row}]" for row in range(first, first + count)]


def full_scale(member: Member, chunks: Iterable[tuple[int, NDArray[Any]]]) -> float:
    """The factor that brings pixels to 0-255: 255 for floats that nowhere exceed 1, else 1.

    The whole array decides, since a single dark image in 0-255 may well stay below 1; it is read once more.

    Raises:
        InputError: the largest value is a little more than 1, as in images of 0-1 that were resized: to say that they
            are in 0-255 would make them black.
    """
    if member.dtype.kind != "f":
        return 1.0
    progress = tqdm(chunks, desc=f"range of {member.key}", unit="chunk", disable=None)
    most = max(np.fmax.reduce(chunk, axis=None) for _, chunk in progress)
    if 1 < most <= 2:
        raise InputError(f"{member.where} holds {most:.8g} at most, neither 0-1 nor 0-255: clip it to 0-1")
    return 255.0 if most <= 1 else 1.0


def whole_numbers(values: NDArray[Any], where: str) -> NDArray[np.int64]:
    """Classes of any integer or float type as int64.

    Raises:
        InputError: one is no whole number, or too large for one; the message names the place `where` and the value.
    """
    with np.errstate(invalid="ignore"):  # NaN, and what is too large: both differ from what they become
        whole = values.astype(np.int64)
    if (whole != values).any():
        raise InputError(f"{where} holds {values[whole != values][0].item():g}; classes are whole numbers")
    return whole


def to_pixels(member: Member, chunk: NDArray[Any], scale: float, first: int) -> NDArray[np.uint8]:
    """Bring pixels to uint8, rounding floats.

    Args:
        member: where they come from, for messages.
        chunk: (b, ...) of any integer or float type.
        scale: of `full_scale`.
        first: index of the chunk's first image in the whole array.

    Raises:
        InputError: a pixel is NaN, infinite or outside 0-255; the message names its image.
    """
    highest = 255 / scale
    if not (chunk.min() >= 0 and chunk.max() <= highest):  # also caught here: NaN compares false
        bad = ~((chunk >= 0) & (chunk <= highest))
        row = int(np.argmax(bad.reshape(len(chunk), -1).any(axis=1)))
        value = chunk[row][bad[row]][0].item()
        raise InputError(
            f"{member.where}: image {first + row} holds the pixel value {value:g}; "
            f"pixels must lie in 0-255, or as floats all in 0-1"
        )
    if chunk.dtype.kind != "f":
        return chunk.astype(np.uint8)
    pixels: NDArray[np.float32] = np.multiply(chunk, scale, dtype=np.float32)
    return np.rint(pixels).astype(np.uint8)
