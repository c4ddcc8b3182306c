"""Mask files → class numbers: the class of each value, and the orientation of a mask over its picture."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from terracyte.core.errors import InputError
from terracyte.ingest.sources.palettes import Painted, painted
from terracyte.ingest.sources.pictures import Photo, decoding, exif_orientation, in_mode, is_transparent, upright
from terracyte.params import MaskValue, Source, values_of
from terracyte.params.schema import check_keys
from terracyte.tasks.task import Task

LOSSY = {"JPEG": "jpg", "WEBP": "webp"}  # formats whose compression may alter values
_UNLABELLED = 255  # by a widespread convention
_WHITE = 255
_SHOWN = 5
_AT_ONCE = 2**16  # number of values whose classes are looked up at a time


@dataclasses.dataclass(frozen=True, kw_only=True)
class Coding:
    """What the values in masks mean.

    Attributes:
        values: the declared values, ascending; a colour is r · 65536 + g · 256 + b.
        labels: the class of each value.
        in_colour: whether the values are colours.
        declared: whether `mask_values` declares the values; otherwise they are the class numbers.
        snap: whether other values become the nearest declared one, and are counted.
    """

    values: NDArray[np.int64]
    labels: NDArray[np.uint8]
    in_colour: bool
    declared: bool
    snap: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mask:
    """A mask as its file stores it.

    Attributes:
        values: (h, w), in the form of `Coding.values`.
        orientation: the mask file's EXIF orientation.
        painted: the colours that the file's palette gives the values.
    """

    values: NDArray[np.int32]
    orientation: int
    painted: Painted = dataclasses.field(default_factory=dict)


def coding(task: Task, source: Source) -> Coding:
    """Return what the source declares about the values in its masks.

    Raises:
        InputError: a name in `mask_values` is no class, a scored class has no value, a value means two classes,
            numbers mix with colours, the task has no background for `ignore`, or `snap_masks` has no `mask_values`.
    """
    where = f"sources.{task.name}"
    meanings = _meanings(task, source, where)
    ignored = [] if source.ignore is None else [(source.ignore, _background(task, where))]
    pairs = [*meanings, *ignored]
    in_colour = {isinstance(value, tuple) for value, _ in pairs}
    if len(in_colour) > 1:
        raise InputError(
            f"experiment.yaml: '{where}' mixes numbers and colours in 'mask_values' and 'ignore'; a list of three "
            "numbers is one colour: write three values of a class as [[3], [4], [5]]"
        )
    codes = [_code(value) for value, _ in pairs]
    for first, code in enumerate(codes):
        if code in codes[:first] and pairs[codes.index(code)][1] != pairs[first][1]:
            raise InputError(
                f"experiment.yaml: '{where}': the value {_shown(pairs[first][0])} stands for two classes; keep one"
            )
    if source.snap_masks and not source.mask_values:
        raise InputError(
            f"experiment.yaml: '{where}.snap_masks' needs 'mask_values', the values to snap to; add them, or "
            "remove the key"
        )
    order = np.argsort(codes, kind="stable")
    return Coding(
        values=np.array(codes, np.int64)[order],
        labels=np.array([label for _, label in pairs], np.uint8)[order],
        in_colour=in_colour.pop(),
        declared=bool(source.mask_values),
        snap=source.snap_masks,
    )


def load_mask(coding: Coding, path: Path) -> Mask:
    """Decode a mask.

    Raises:
        UnreadableError: the file is no readable picture.
        InputError: lossy compression alters the values, the mask is in colour where numbers are declared or the other
            way round, it has transparent pixels, or its single bit per pixel may mean two values.
    """
    with decoding(path) as (picture, _):
        if picture.format in LOSSY and not coding.snap:
            raise InputError(
                f"{path} is a {LOSSY[picture.format]}, whose compression alters the values of masks: save it as png, "
                "or set 'mask_values' and 'snap_masks: true' beside 'path' in experiment.yaml to take the nearest value"
            )
        orientation = exif_orientation(picture)
        if coding.in_colour:
            return Mask(values=packed(opaque_rgb(picture, path)), orientation=orientation)
        values = np.asarray(in_mode(picture, "L") if picture.format in LOSSY else picture)
        if values.ndim != 2 or values.dtype.kind == "f":
            raise InputError(
                f"{path} is not a grey picture of whole numbers, but {picture.mode}: save it as one, or if it is in "
                "colour, declare its colours in 'mask_values' beside 'path' in experiment.yaml: {soil: [220, 20, 60]}"
            )
        values = values.astype(np.int32)  # Pillow has no larger integers
        if picture.mode == "1":  # programs save both masks of 0 and 255 and masks of 0 and 1 in this mode
            one, white = 1 in coding.values, _WHITE in coding.values
            if one and white:
                raise InputError(f"{path} has one bit per pixel, which may mean 1 or {_WHITE}: save it with 8 bits")
            values *= 1 if one else _WHITE
        return Mask(values=values, orientation=orientation, painted=painted(picture, values))


def opaque_rgb(picture: Image.Image, path: Path) -> Image.Image:
    """Return a mask as an RGB picture.

    Raises:
        InputError: the mask is grey, or some of its pixels are transparent.
    """
    if Image.getmodebase(picture.mode) == "L":
        raise InputError(
            f"{path} is grey, but 'mask_values' in experiment.yaml declares colours (a list of three numbers is one); "
            "declare numbers instead"
        )
    if is_transparent(picture):
        raise InputError(f"{path} has transparent pixels, whose colours are invisible: save it without transparency")
    return in_mode(picture, "RGB")


def packed(picture: Image.Image) -> NDArray[np.int32]:
    """Return the colours (h, w) of an RGB picture, each as r · 65536 + g · 256 + b; see `colour`."""
    codes = np.zeros((picture.height, picture.width), np.int32)
    for channel in range(3):
        codes <<= 8
        codes |= np.asarray(picture.getchannel(channel))
    return codes


def colour(code: int) -> list[int]:
    """Return red, green and blue of a packed colour."""
    return [code >> 16, code >> 8 & 255, code & 255]


def class_numbers(coding: Coding, values: NDArray[np.integer[Any]]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the classes (h, w) of a mask's values (undeclared ones get the nearest's), and which are undeclared."""
    labels, unknown = np.empty(values.size, np.uint8), np.empty(values.size, np.bool_)
    for start in range(0, values.size, _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        places, unknown[part] = _places(coding, values.reshape(-1)[part].astype(np.int64))
        labels[part] = coding.labels[places]
    return labels.reshape(values.shape), unknown.reshape(values.shape)


def aligned(source: Source, task: Task, mask: NDArray[Any], orientation: int, photo: Photo, path: Path) -> NDArray[Any]:
    """Turn the mask so that it lies over the upright picture.

    The mask's own EXIF, or its size, shows whether it belongs to the picture's stored or upright pixels.

    Args:
        source: the source, whose `masks_follow` decides where EXIF and size do not.
        task: the task, for messages.
        mask: (h, w) uint8, as stored.
        orientation: the mask's own EXIF orientation.
        photo: the mask's picture.
        path: the mask's file, for messages.

    Raises:
        InputError: neither EXIF, size nor `masks_follow` decides, or the sizes differ.
    """
    if orientation == 1 and photo.orientation != 1 and _follows_stored(source, task, mask, photo, path):
        orientation = photo.orientation
    if orientation != 1:
        mask = np.asarray(upright(Image.fromarray(mask), orientation))
    picture = photo.picture
    if mask.shape != (picture.height, picture.width):
        raise InputError(
            f"{path} has {mask.shape[1]}x{mask.shape[0]} pixels, "
            f"its image {picture.width}x{picture.height}; they must have the same size"
        )
    return mask


def unknown_values(
    task: Task, coding: Coding, path: Path, values: NDArray[np.integer[Any]], found: Iterable[int]
) -> str:
    """Return the message that refuses a mask with undeclared values.

    Args:
        task: the task, whose classes the message names.
        coding: what the source declares.
        path: the mask's file.
        values: (h, w), the values in the mask.
        found: all values in all masks of the source, which decide the declarations that the message suggests.
    """
    _, unknown = class_numbers(coding, values)
    row, column = (int(axis) for axis in np.unravel_index(int(unknown.argmax()), unknown.shape))
    value = int(values[row, column])
    count = int((values == value).sum())
    everything = sorted(int(each) for each in found)
    where = f"{path} holds {_named(value, coding.in_colour)} in {count} pixels, first at row {row}, column {column}"
    of_all = ", ".join(_named(each, coding.in_colour) for each in everything[: 2 * _SHOWN])
    more = " …" if len(everything) > 2 * _SHOWN else ""
    if coding.declared:
        return (
            f"{where}; add this value to a class in 'sources.{task.name}.mask_values' in experiment.yaml (the masks "
            f"together hold {of_all}{more})"
        )
    fitting = readings(task.classes, task.background, everything)
    if not fitting:
        fitting = ["mask_values: {" + ", ".join(f"{name}: VALUE" for name in task.classes[:2]) + ", …}"]
    choice = " or ".join(f"'{each}'" for each in fitting)
    return (
        f"{where}; classes are numbered 0 ({task.classes[0]}) to {len(task.classes) - 1} ({task.classes[-1]}), but the "
        f"masks together hold {of_all}{more}: declare what they mean under 'sources.{task.name}' in experiment.yaml: "
        f"{choice}"
    )


def readings(classes: tuple[str, ...], background: int | None, found: Iterable[int]) -> list[str]:
    """Return declarations, as lines of YAML, that give every value a meaning; empty if none fits or is needed.

    Args:
        classes: the task's classes.
        background: the class that is not scored; None if there is none.
        found: the values of all masks.
    """
    values = sorted(found)
    others = [value for value in values if value != _UNLABELLED]
    fitting = []
    if background is not None and _UNLABELLED in values:
        scored = [name for label, name in enumerate(classes) if label != background]
        if all(value < len(classes) for value in others):
            fitting.append(f"ignore: {_UNLABELLED}")
        if all(value < len(scored) for value in others):
            numbered = ", ".join(f"{name}: {number}" for number, name in enumerate(scored))
            fitting.append(f"mask_values: {{{numbered}, {classes[background]}: {_UNLABELLED}}}")
    if len(values) == len(classes) and values != list(range(len(classes))):
        ascending = ", ".join(f"{name}: {value}" for name, value in zip(classes, values, strict=True))
        if f"mask_values: {{{ascending}}}" not in fitting:
            fitting.append(f"mask_values: {{{ascending}}}")
    return fitting


def _meanings(task: Task, source: Source, where: str) -> list[tuple[MaskValue, int]]:
    if not source.mask_values:
        return [(label, label) for label in range(len(task.classes))]
    check_keys(source.mask_values, task.classes, f"{where}.mask_values", "experiment.yaml")
    absent = [task.classes[label] for label in task.scored_classes if task.classes[label] not in source.mask_values]
    if absent:
        raise InputError(f"experiment.yaml: '{where}.mask_values' has no value for {', '.join(absent)}; add it")
    declared = {task.classes.index(name): values_of(values) for name, values in source.mask_values.items()}
    return [(value, label) for label, values in declared.items() for value in values]


def _background(task: Task, where: str) -> int:
    if task.background is None:
        raise InputError(
            f"experiment.yaml: '{where}.ignore' is set, but 'tasks.{task.name}' in params.yaml has no class for such "
            "pixels: add one to 'classes' (such as unlabelled) and name it as 'background', which is never scored"
        )
    return task.background


def _follows_stored(source: Source, task: Task, mask: NDArray[Any], photo: Photo, path: Path) -> bool:
    """Return whether a mask without an orientation belongs to its picture's pixels as stored, before turning."""
    size = (mask.shape[1], mask.shape[0])
    stored, upright = size == photo.stored_size, size == photo.picture.size
    if not (stored and upright):  # a mask of neither size is refused later, for its size
        return stored
    if source.masks_follow is None:
        raise InputError(
            f"{path} is not turned by EXIF, but its image is (orientation {photo.orientation}): set "
            f"'sources.{task.name}.masks_follow' in experiment.yaml to stored (the mask fits the pixels as the image "
            "stores them) or upright (it fits the image as viewers show it)"
        )
    return source.masks_follow == "stored"


def _code(value: MaskValue) -> int:
    return value if isinstance(value, int) else value[0] << 16 | value[1] << 8 | value[2]


def _shown(value: MaskValue) -> str:
    return str(value) if isinstance(value, int) else str(list(value))


def _named(code: int, in_colour: bool) -> str:
    return str(colour(code)) if in_colour else str(code)


def _places(coding: Coding, values: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return the index of the nearest declared value for each value (n,), and which values are undeclared."""
    places = np.searchsorted(coding.values, values).clip(0, len(coding.values) - 1)
    unknown = coding.values[places] != values
    if unknown.any():
        others, which = np.unique(values[unknown], return_inverse=True)
        distances = _distances(others, coding.values, coding.in_colour)
        places[unknown] = distances.argmin(axis=1)[which]
    return places, unknown


def _distances(values: NDArray[np.int64], declared: NDArray[np.int64], in_colour: bool) -> NDArray[np.int64]:
    """Return squared distances (v, d) between numbers, or between colours in RGB."""
    shifts = (16, 8, 0) if in_colour else ()
    channels = [(values >> shift & 255, declared >> shift & 255) for shift in shifts] or [(values, declared)]
    return np.asarray(sum((ours[:, None] - theirs) ** 2 for ours, theirs in channels))
