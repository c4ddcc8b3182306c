"""Picture files in folders: `<class>/…`, a CSV file with labels, or `images/` and `masks/` with the same file names.

Folders named train, val and test above them give a split, and a column of a CSV file may do so, too. Beside `images/`,
pictures without masks may lie in `unlabelled/`. The values in masks are the class numbers of params.yaml, unless
`mask_values` and `ignore` say otherwise.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from terracyte.core.errors import InputError, tell
from terracyte.core.splits import order
from terracyte.ingest.sources import columns, masks
from terracyte.ingest.sources.listing import (
    UNLABELLED,
    Listing,
    Sample,
    labelled_samples,
    listed_samples,
    paired_samples,
)
from terracyte.ingest.sources.palettes import Painted, Palettes
from terracyte.ingest.sources.pictures import Photo, UnreadableError, load_image
from terracyte.ingest.sources.resizing import resize_image, resize_mask
from terracyte.ingest.sources.source import Batch
from terracyte.ingest.sources.tally import Tally, classes_in
from terracyte.ingest.sources.tree import hidden, linked, shown, walk
from terracyte.params import Source
from terracyte.tasks.task import Task

_BATCH, _BATCH_BYTES = 256, 2**26  # pictures at a time, fewer if they are large

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclasses.dataclass(frozen=True)
class _Loaded:
    """A picture (h, w, c) with its label or its mask (h, w).

    Attributes:
        image: the picture.
        target: the label, or the mask.
        moved: number of the mask's pixels that were snapped, at the task's size.
        classes: (classes,), which classes the mask shows as stored; None for a label.
        painted: the colours that the mask's palette gives its values.
    """

    image: NDArray[np.uint8]
    target: Any
    moved: int = 0
    classes: NDArray[np.bool_] | None = None
    painted: Painted = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class _Unknown:
    """A mask with undeclared values."""

    path: Path
    values: NDArray[np.int32]


def read(task: Task, source: Source) -> Iterator[Batch]:
    """Read a folder of pictures, resized to the task's size.

    Hidden files, and unreadable or incomplete ones under `unreadable: skip`, are left out and named on stderr.

    Raises:
        InputError: a folder, a mask, a group or a split is missing or unknown, a mask does not fit its image in size
            or orientation, a mask's value has no meaning or two, or a file is unreadable under `unreadable: refuse`.
    """
    root = Path(source.path)
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; change 'sources.{task.name}.path' in experiment.yaml")
    listing = _listing(task, source, root)
    given = columns.declared_splits(root, source.labels, source.split_column, _names(root, listing.samples))
    pairs = zip(listing.samples, given, strict=True)
    placed = [dataclasses.replace(sample, split=split or sample.split) for sample, split in pairs]
    samples = sorted(placed, key=lambda sample: order(sample.split))
    splits = [sample.split for sample in samples]
    names = _names(root, samples)
    groups = columns.declared_groups(root, source.labels, source.group_column, names)
    _warn(root, "hidden", hidden(root))
    if links := linked(root):
        tell(
            f"warning: {root}: DVC does not see changes behind links to folders: {shown(links)}; after a change, run "
            f"`dvc repro --force --single-item ingest@{task.name}`"
        )
    columns.note_splits(task, str(root), splits)
    for problem in listing.incomplete:
        if source.unreadable == "refuse":
            raise InputError(f"{problem}; add what is missing or remove what is left over, or {_how_to_skip(task)}")
        tell(f"warning: left out: {problem}")
    for note in listing.notes:
        tell(note)
    loaded = _readable(task, source, samples)
    while part := list(itertools.islice(loaded, _batch(task))):
        targets = np.stack([each.target for _, each in part])
        yield Batch(
            images=np.stack([each.image for _, each in part]),
            labels=None if task.dense else targets,
            masks=targets if task.dense else None,
            names=[names[row] for row, _ in part],
            groups=[groups[row] for row, _ in part],
            splits=[splits[row] for row, _ in part] if any(splits) else None,
            total=len(names),
        )


def unlabelled(task: Task, source: Source) -> Iterator[NDArray[np.uint8]]:
    """Read the pictures of `unlabelled/` in the order of their paths, each resized to the task's size (1, h, w, c).

    Raises:
        InputError: a file is unreadable under `unreadable: refuse`.
    """
    folder = Path(source.path) / UNLABELLED
    if task.dense and folder.is_dir():
        for _, each in _readable(task, source, [Sample(image=path) for path in walk(folder)]):
            yield each.image[None]


def _listing(task: Task, source: Source, root: Path) -> Listing:
    if task.dense:
        return paired_samples(root, source.images, source.masks)
    if source.labels:
        return listed_samples(task, source, root, source.labels)
    return labelled_samples(task, source, root)


def _names(root: Path, samples: Sequence[Sample]) -> list[str]:
    return [sample.image.relative_to(root).as_posix() for sample in samples]


def _readable(task: Task, source: Source, samples: Sequence[Sample]) -> Iterator[tuple[int, _Loaded]]:
    """Yield (index, picture and target) of readable samples; refuse the others, or warn about them."""
    coding = masks.coding(task, source) if task.dense else None
    unreadable, tally, palettes = [], Tally(task), Palettes()
    outcomes = _in_threads(functools.partial(_load, task, source, coding), samples, _batch(task))
    for row, outcome in enumerate(outcomes):
        if isinstance(outcome, _Loaded):
            palettes.require_same(samples[row].mask or samples[row].image, outcome.painted)
            if outcome.classes is not None:
                tally.add(outcome.classes, outcome.target, outcome.moved)
            yield row, outcome
        elif isinstance(outcome, _Unknown):
            assert coding is not None
            found = _values(coding, samples)
            raise InputError(masks.unknown_values(task, coding, outcome.path, outcome.values, found))
        elif source.unreadable == "skip":
            unreadable.append(str(outcome))
        else:
            raise InputError(f"{outcome}; repair or remove it, or {_how_to_skip(task)}")
    _warn(Path(source.path), "unreadable", unreadable)
    tally.tell(source.path)


def _how_to_skip(task: Task) -> str:
    return f"set 'sources.{task.name}.unreadable' to skip in experiment.yaml"


def _batch(task: Task) -> int:
    return max(1, min(_BATCH, _BATCH_BYTES // math.prod(task.image_shape)))


def _in_threads(function: Callable[[_Item], _Result], items: Sequence[_Item], size: int = _BATCH) -> Iterator[_Result]:
    """Map in order with bounded memory; Pillow releases the GIL while it decodes and resizes."""
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(items), size):
            yield from pool.map(function, items[start : start + size])


def _load(
    task: Task, source: Source, coding: masks.Coding | None, sample: Sample
) -> _Loaded | _Unknown | UnreadableError:
    try:
        photo = load_image(task, sample.image)
        image = resize_image(task, photo.picture)
        if sample.mask is None or coding is None:
            return _Loaded(image, sample.label)
        return _with_mask(task, source, coding, photo, image, sample.mask)
    except UnreadableError as error:
        return UnreadableError(str(error))  # a new error: the traceback of the raised one keeps the picture in memory


def _with_mask(
    task: Task, source: Source, coding: masks.Coding, photo: Photo, image: NDArray[np.uint8], path: Path
) -> _Loaded | _Unknown:
    mask = masks.load_mask(coding, path)
    labels, unknown = masks.class_numbers(coding, mask.values)
    if unknown.any() and not coding.snap:
        return _Unknown(path, mask.values)
    upright = masks.aligned(source, task, labels, mask.orientation, photo, path)
    # counted in pixels of the task's size, since the share reported is that of the kept pixels
    moved = round(float(unknown.mean()) * image[..., 0].size)
    return _Loaded(image, resize_mask(task, upright), moved, classes_in(task, upright), mask.painted)


def _values(coding: masks.Coding, samples: Sequence[Sample]) -> set[int]:
    """Return all values that occur in the masks."""

    def held(sample: Sample) -> set[int]:
        try:
            return set(np.unique(masks.load_mask(coding, sample.mask).values).tolist()) if sample.mask else set()
        except (UnreadableError, InputError):  # reported when the sample is read
            return set()

    found = tqdm(_in_threads(held, samples), "values of masks", len(samples), leave=False, disable=None)
    return set().union(*found)


def _warn(root: Path, kind: str, names: list[str]) -> None:
    if names:
        tell(f"warning: {root}: {len(names)} {kind} files left out: {shown(names)}")
