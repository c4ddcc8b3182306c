"""Picture files in folders: `<class>/*.jpg|png`, or `images/` and `masks/` with equal file names.

Beside the latter, pictures without masks may lie in `unlabelled/`.

A mask is a png whose grey values or palette indices are the class numbers of params.yaml; 255 is background,
by the usual convention for "unlabelled". The public AI4Mars masks number the classes without background
(0 soil, 1 bedrock, 2 sand, 3 big rock, 255 unlabelled). They are recognised by that: somewhere in the set
there is a 255, and nowhere the highest class number, which a set that holds every class cannot lack.
"""

import functools
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from terracyte.core.errors import InputError
from terracyte.ingest.sources.groups import declared_groups
from terracyte.ingest.sources.listing import (
    UNLABELLED,
    Sample,
    hidden,
    labelled_samples,
    masked_samples,
    shown,
    visible,
)
from terracyte.ingest.sources.pictures import UnreadableError, load_image, load_mask, resize_image, resize_mask
from terracyte.ingest.sources.source import Batch
from terracyte.params import Source
from terracyte.tasks.task import Task

_BATCH = 256
_NO_CLASS = 255

# A picture (h, w, c) with its label or its mask (h, w).
_Loaded = tuple[NDArray[np.uint8], Any]
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def read(task: Task, source: Source) -> Iterator[Batch]:
    """Read a folder of pictures, resized to the task's size.

    What is hidden, and what is unreadable under `unreadable: skip`, is left out and named on stderr.

    Raises:
        InputError: a folder, a mask or a group is missing or unknown, an image and its mask differ in size,
            a mask is no png of class numbers, or a file is unreadable under `unreadable: refuse`.
    """
    root = Path(source.path)
    if not root.is_dir():
        raise InputError(f"{root} is no folder; change 'sources.{task.name}.path' in experiment.yaml")
    samples = masked_samples(root) if task.dense else labelled_samples(task, root)
    names = [sample.image.relative_to(root).as_posix() for sample in samples]
    groups = declared_groups(root, source.group_column, names) if source.group_column else [""] * len(names)
    _warn(root, "hidden", hidden(root))
    loaded = _readable(task, source, samples)
    while part := list(itertools.islice(loaded, _BATCH)):
        targets = np.stack([target for _, (_, target) in part])
        yield Batch(
            images=np.stack([image for _, (image, _) in part]),
            labels=None if task.dense else targets,
            masks=targets if task.dense else None,
            names=[names[row] for row, _ in part],
            groups=[groups[row] for row, _ in part],
            total=len(samples),
        )


def unlabelled(task: Task, source: Source) -> Iterator[NDArray[np.uint8]]:
    """Read the pictures of `unlabelled/`, by name, resized to the task's size (1, h, w, c).

    Raises:
        InputError: a file is unreadable under `unreadable: refuse`.
    """
    folder = Path(source.path) / UNLABELLED
    if task.dense and folder.is_dir():
        samples = [Sample(image=path) for path in visible(folder)]
        for _, (image, _) in _readable(task, source, samples):
            yield image[None]


def _readable(task: Task, source: Source, samples: Sequence[Sample]) -> Iterator[tuple[int, _Loaded]]:
    """Yield (index, picture and target) of readable samples; refuse the others, or warn of them."""
    without_background = task.background is not None and _numbered_without_background(task, samples)
    load = functools.partial(_load, task, without_background)
    unreadable = []
    for row, outcome in enumerate(_in_threads(load, samples)):
        if not isinstance(outcome, UnreadableError):
            yield row, outcome
        elif source.unreadable == "skip":
            unreadable.append(str(outcome))
        else:
            raise InputError(
                f"{outcome}; repair or remove it, or set 'sources.{task.name}.unreadable' to skip in experiment.yaml"
            )
    _warn(Path(source.path), "unreadable", unreadable)


def _in_threads(function: Callable[[_Item], _Result], items: Sequence[_Item]) -> Iterator[_Result]:
    """Map in order at bounded memory; Pillow decodes and resizes without holding the interpreter's lock."""
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(items), _BATCH):
            yield from pool.map(function, items[start : start + _BATCH])


def _load(task: Task, without_background: bool, sample: Sample) -> _Loaded | UnreadableError:
    height, width, channels = task.image_shape
    try:
        picture = load_image(sample.image, channels)
        image = resize_image(picture, height, width)
        if sample.mask is None:
            return image, sample.label
        mask = load_mask(sample.mask)
    except UnreadableError as error:
        return error
    if mask.shape != (picture.height, picture.width):
        raise InputError(
            f"{sample.mask} has {mask.shape[1]}x{mask.shape[0]} pixels, "
            f"its image {picture.width}x{picture.height}; they must have the same size"
        )
    return image, _class_numbers(task, resize_mask(mask, height, width), without_background)


def _class_numbers(task: Task, mask: NDArray[Any], without_background: bool) -> NDArray[Any]:
    if task.background is None:
        return mask
    # What is no class stays as it is, so that the message of the refusal shows the file's own value.
    numbers = np.where(mask < len(task.classes) - 1, mask + 1, mask) if without_background else mask
    return np.where(mask == _NO_CLASS, task.background, numbers)


def _numbered_without_background(task: Task, samples: Sequence[Sample]) -> bool:
    """Whether masks are numbered as in AI4Mars; the module's docstring says how that is recognised."""
    highest, unlabelled_seen = len(task.classes) - 1, False
    scan = _in_threads(functools.partial(_mask_holds, values=(highest, _NO_CLASS)), samples)
    for holds_highest, holds_unlabelled in tqdm(scan, "numbering of masks", len(samples), disable=None):
        if holds_highest:
            return False
        unlabelled_seen |= holds_unlabelled
    if unlabelled_seen:
        names = ", ".join(f"{label} {task.classes[label + 1]}" for label in range(highest))
        print(
            f"note: masks hold 255 and no {highest}, so they are read as AI4Mars numbers them: "
            f"{names}, 255 {task.classes[0]}",
            file=sys.stderr,
        )
    return unlabelled_seen


def _mask_holds(sample: Sample, values: Sequence[int]) -> list[bool]:
    try:
        mask = load_mask(sample.mask) if sample.mask else np.empty(0)
    except UnreadableError:  # reported when the sample is read
        return [False] * len(values)
    return [bool((mask == value).any()) for value in values]


def _warn(root: Path, kind: str, names: list[str]) -> None:
    if names:
        tqdm.write(f"warning: {root}: {len(names)} {kind} files left out: {shown(names)}", file=sys.stderr)
