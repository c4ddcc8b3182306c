"""Arrays of any integer or float type → pixels and classes of the raw form."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from terracyte.core.errors import InputError
from terracyte.ingest.sources.npz import Member
from terracyte.ingest.sources.pictures import within
from terracyte.tasks.task import Task

Scale = float | tuple[float, float]
"""A factor that brings pixels to 0-255; or a task's `pixel_range`, which becomes 0-255."""

DARKEST = 16  # the largest value of images in 0-255 is larger: up to it, all would be nearly black
_OF_FILE = "use the matching file, or set the height, width and channels of its images in params.yaml"


def expect_shape(member: Member, *shape: int | None, advice: str = _OF_FILE) -> None:
    """Require a shape of images; None stands for any length.

    Raises:
        InputError: the array has another shape; the message names both.
    """
    matches = [wanted in (None, got) for wanted, got in zip(shape, member.shape, strict=False)]
    if len(shape) != len(member.shape) or not all(matches):
        wanted = ", ".join(axis if length is None else str(length) for axis, length in zip("nhwc", shape, strict=False))
        raise InputError(f"{member.where} has shape {member.shape}; it must be ({wanted}): {advice}")


def row_names(member: Member, first: int, count: int) -> list[str]:
    """Return the names of rows: `images[0]`, `images[1]` …"""
    return [f"{member.key}[{row}]" for row in range(first, first + count)]


def full_scale(task: Task, member: Member, chunks: Iterable[tuple[int, NDArray[Any]]]) -> Scale:
    """Return what brings pixels to 0-255: the task's `pixel_range` if it has one, or else a factor.

    Bytes (uint8) are in 0-255 already. The factor is 255 for floats that nowhere exceed 1, else 1: the whole array
    decides, since a single dark image in 0-255 may stay below 1; this costs an extra pass over it.

    Raises:
        InputError: as the scale says, nearly all would be black or white: nothing exceeds 16 of 255, as in 0-1 images
            that were resized, in images of four bits, and in 0-1 images where the `pixel_range` is that of 12 bits; or
            most values are outside the `pixel_range`.
    """
    if member.dtype == np.uint8:
        return 1.0
    low, high = task.spec.pixel_range or (-np.inf, np.inf)
    most, outside, count = -np.inf, 0, 0
    for _, chunk in tqdm(chunks, desc=f"range of {member.key}", unit="chunk", disable=None):
        most = np.fmax(most, float(np.fmax.reduce(chunk, axis=None)))
        outside += int(np.count_nonzero((chunk < low) | (chunk > high)))
        count += chunk.size
    if task.spec.pixel_range is None:
        whole = member.dtype.kind != "f"
        if (0 if whole else 1) < most <= DARKEST:
            raise InputError(
                f"{member.where} has pixels up to {most:.8g}, which as 0-255 are nearly black: scale them to 0-255 "
                "(floats: or to 0-1), or give the task a 'pixel_range'"
            )
        return 1.0 if whole or most > 1 else 255.0
    dark = 255 * (most - low) / (high - low) <= DARKEST
    if dark or outside > count / 2:
        why = f"its largest value is {most:.8g}" if dark else f"{outside / count:.0%} of its values are outside"
        raise InputError(
            f"{member.where} does not fit the task's 'pixel_range', {low:g} to {high:g}: {why}; give pixels in this one"
        )
    return low, high


def whole_numbers(values: NDArray[Any], where: str, what: str = "classes") -> NDArray[np.int64]:
    """Convert classes, or whatever `what` says, of any integer or float type to int64.

    Raises:
        InputError: a value is no whole number, or exceeds int64; the message names the place `where` and the value.
    """
    with np.errstate(invalid="ignore"):  # NaN and too large values: casting changes them
        whole = values.astype(np.int64)
    if (whole != values).any():
        raise InputError(f"{where} holds {values[whole != values][0].item():g}; {what} must be whole numbers")
    return whole


def to_pixels(member: Member, chunk: NDArray[Any], scale: Scale, first: int) -> NDArray[np.uint8]:
    """Bring pixels to uint8, rounding floats.

    Args:
        member: the array that the pixels come from, for messages.
        chunk: (b, ...) of any integer or float type.
        scale: from `full_scale`.
        first: index of the chunk's first image in the whole array.

    Raises:
        InputError: a pixel is NaN, or without a `pixel_range` outside 0-255; the message names its image.
    """
    lowest, highest = (0, 255 / scale) if isinstance(scale, float) else (-np.inf, np.inf)
    if not (chunk.min() >= lowest and chunk.max() <= highest):  # negated to catch NaN, which compares false
        bad = ~((chunk >= lowest) & (chunk <= highest))
        row = int(np.argmax(bad.reshape(len(chunk), -1).any(axis=1)))
        value = chunk[row][bad[row]][0].item()
        advice = (
            "pixels must be in 0-255, or all in 0-1 as floats, or the task must say in its 'pixel_range' which values "
            "become 0 and 255"
        )
        raise InputError(
            f"{member.where}: image {first + row} holds the pixel value {value:g}; "
            f"{'save it without NaN' if np.isnan(value) else advice}"
        )
    if not isinstance(scale, float):
        return within(scale, chunk)
    if chunk.dtype.kind != "f":
        return chunk.astype(np.uint8)
    pixels: NDArray[np.float32] = np.multiply(chunk, scale, dtype=np.float32)
    return np.rint(pixels).astype(np.uint8)
