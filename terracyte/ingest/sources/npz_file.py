"""Arrays of an .npz file: `images` with `labels` or `masks`, or such a pair for each split, as MedMNIST's files have.

The names of a split's arrays begin with its name: `train_images`, `val_labels`, `test_masks`. Or they are named as in
Keras' and scikit-learn's examples: `x_train` with `y_train`, `X` with `y`. Images are (n, h, w) or
(n, h, w, c), labels (n,) or (n, 1), masks (n, h, w) or (n, h, w, 1); pictures of another size than the task's are
resized. A further array of whole numbers or text may give the group of each image, such as its patient.
"""

import dataclasses
import itertools
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from terracyte.core.errors import InputError
from terracyte.core.splits import order, split_of
from terracyte.ingest.sources import masks
from terracyte.ingest.sources.arrays import Scale, expect_shape, full_scale, row_names, to_pixels, whole_numbers
from terracyte.ingest.sources.columns import normal, note_empty, note_splits
from terracyte.ingest.sources.listing import LEFT_OUT, label_of
from terracyte.ingest.sources.npz import Member, members, names
from terracyte.ingest.sources.resizing import resize_image, resize_mask
from terracyte.ingest.sources.source import Batch
from terracyte.ingest.sources.tally import Tally, classes_in
from terracyte.params import Source
from terracyte.tasks.task import Task

_BATCH_BYTES = 2**26  # bytes of a batch's images at the task's size, which may exceed the stored size

Kind = Literal["labels", "masks"]
_IMAGES = "images"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pair:
    """Images and their targets.

    Attributes:
        split: the split that the arrays' names give; "" for none.
        images: (n, h, w) or (n, h, w, c).
        targets: (n,) or (n, 1) labels, or (n, h, w) or (n, h, w, 1) masks.
        groups: (n,) or (n, 1) declared groups; None for none.
    """

    split: str
    images: Member
    targets: Member
    groups: Member | None = None


def pairs(path: Path, kind: Kind, groups: str | None = None) -> list[Pair]:
    """Return the pairs of arrays in a file, the test split first.

    Args:
        path: the file.
        kind: what the targets are, which is also the name of their arrays.
        groups: the name of the arrays with the declared groups; None for none.

    Raises:
        InputError: the file is unusable, has no images, an array of images has no targets or groups or another number
            of them, or an array's prefix names no split.
    """
    present = names(path)
    splits = {key: split_of(name) if name else "" for key, name in split_names(present).items()}
    keys = [key for key, split in splits.items() if split is not None]
    strange = [key for key in splits if key not in keys and targets_of(key, kind) in present]
    if strange:
        raise InputError(
            f"{path} holds '{strange[0]}' with {kind}, but the name is not of a split: say train, val or test in both "
            "names"
        )
    shared = len({targets_of(key, kind) for key in keys}) < len(keys)  # by x_train and X_train
    if not keys or shared or (len(keys) > 1 and "" in splits.values()):
        raise InputError(
            f"{path} holds the arrays {', '.join(present) or '(none)'}; needed: images and {kind}, or such a "
            f"pair for each split: train_images and train_{kind}, val_…, test_…; or x and y, x_train and y_train, …"
        )
    made = []
    for key in keys:
        (images,), (targets,) = members(path, key), members(path, targets_of(key, kind), text=kind == "labels")
        grouped = members(path, partner(key, groups), text=True) if groups else []
        for each in (targets, *grouped):
            if len(images) != len(each):
                raise InputError(
                    f"{each.where} has {len(each)} entries, but '{key}' has {len(images)}; each image needs one"
                )
        made.append(Pair(split=splits[key] or "", images=images, targets=targets, groups=next(iter(grouped), None)))
    return sorted(made, key=lambda pair: order(pair.split))


def split_names(keys: Sequence[str]) -> dict[str, str]:
    """Return the arrays of images with what their names call the split; "" where they call none."""
    named = {key: key.removesuffix(_IMAGES).rstrip("_") for key in keys if key.endswith(_IMAGES)}
    short = {key: key[2:] for key in keys if key.casefold() == "x" or key.casefold().startswith("x_")}
    return named if not short or any(not name or split_of(name) for name in named.values()) else short


def targets_of(key: str, kind: Kind) -> str:
    """Return the name of the array with the labels or masks of an array of images."""
    return partner(key, kind if key.endswith(_IMAGES) else "y")


def partner(key: str, what: str) -> str:
    """Return the name of an array beside an array of images: `train_site` or `site_train`, as that is named."""
    return key.removesuffix(_IMAGES) + what if key.endswith(_IMAGES) else what + key[1:]


def read(task: Task, source: Source) -> Iterator[Batch]:
    """Read an .npz file in chunks.

    Raises:
        InputError: the file is missing, damaged, or not of the form above, a pixel is NaN or out of range, or a
            value in masks has no meaning.
    """
    found = pairs(Path(source.path), "masks" if task.dense else "labels", source.group_column)
    yield from batches(task, source, found)
    note_splits(task, source.path, [pair.split for pair in found for _ in range(len(pair.images))])


def batches(task: Task, source: Source, found: Sequence[Pair]) -> Iterator[Batch]:
    """Read pairs of arrays in chunks.

    Raises:
        InputError: see `read`.
    """
    for pair in found:
        _require_shapes(task, pair)
    scale = common_scale(task, found)
    coding = masks.coding(task, source) if task.dense else None
    every, tally = [pair.targets for pair in found], Tally(task)
    for pair in found:
        if coding is None:
            targets = _labels(task, source, pair.targets)
        else:
            targets = _masks(task, coding, pair.targets, every, tally)
        groups = declared_groups(pair)
        for first, chunk in pair.images.chunks(max(1, _BATCH_BYTES // math.prod(task.image_shape))):
            pixels = to_pixels(pair.images, chunk, scale, first)
            part = list(itertools.islice(targets, len(chunk)))
            kept = [place for place, target in enumerate(part) if target is not None]
            if not kept:
                continue
            values = np.stack([part[place] for place in kept])
            rows = row_names(pair.images, first, len(chunk))
            yield Batch(
                images=np.stack([picture(task, pixels[place]) for place in kept]),
                labels=None if task.dense else values,
                masks=values if task.dense else None,
                names=[rows[place] for place in kept],
                groups=[groups[first + place] for place in kept] if groups else None,
                splits=[pair.split] * len(kept) if pair.split else None,
                total=sum(len(each.images) for each in found),
            )
    tally.tell(source.path)


def unlabelled(task: Task, source: Source) -> Iterator[NDArray[np.uint8]]:
    """Return an empty iterator: all images of such a file have targets."""
    return iter(())


def common_scale(task: Task, found: Sequence[Pair]) -> Scale:
    """Return what brings the pixels of all pairs to 0-255; see `full_scale`.

    Raises:
        InputError: the images of two pairs would need different scales; or see `full_scale`.
    """
    first, *others = (pair.images for pair in found)
    scale = full_scale(task, first, first.chunks())
    for other in others:
        if full_scale(task, other, other.chunks()) != scale:
            raise InputError(
                f"{first.path} holds '{first.key}' ({first.dtype}) and '{other.key}' ({other.dtype}) with pixels in "
                "different ranges: save all splits alike"
            )
    return scale


def declared_groups(pair: Pair) -> list[str] | None:
    """Return the group of each image; None if none are declared.

    Raises:
        InputError: there is not one for each image, or it is neither a whole number nor text.
    """
    if pair.groups is None:
        return None
    require_one_per_image(pair, pair.groups, "group")
    if pair.groups.dtype.kind != "U":
        values = whole_numbers(pair.groups.read().reshape(-1), pair.groups.where, "groups")
        return [str(value) for value in values.tolist()]
    names = texts(pair.groups)
    note_empty(pair.groups.where, names)
    return names


def texts(member: Member) -> list[str]:
    """Return the entries of an array of text, without blanks around them.

    Raises:
        InputError: they are no valid text.
    """
    values = member.read().reshape(-1)
    try:
        points = values.astype(values.dtype.newbyteorder("=")).view(np.uint32)
        if points.max() > sys.maxunicode:  # NumPy makes strings of such, which break Python
            raise ValueError("no character")
        names = [normal(name.strip()) for name in values.tolist()]
        "".join(names).encode()
    except ValueError as error:
        raise InputError(f"{member.where} holds characters that are not valid text: save it again") from error
    return names


def picture(task: Task, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bring one image (h, w) or (h, w, c) to the task's shape (h, w, c)."""
    channels = task.image_shape[2]
    stored = pixels.reshape(*pixels.shape[:2], channels)
    if stored.shape == task.image_shape:
        return stored
    return resize_image(task, Image.fromarray(stored if channels > 1 else stored[..., 0]))


def _require_shapes(task: Task, pair: Pair) -> None:
    channels = task.image_shape[2]
    last = () if channels == 1 and len(pair.images.shape) == 3 else (channels,)
    channels_advice = f"save the images so, or change 'tasks.{task.name}.channels' in params.yaml"
    expect_shape(pair.images, None, None, None, *last, advice=channels_advice)
    if task.dense:
        expect_masks(pair)
    else:
        require_one_per_image(pair, pair.targets, "label")


def expect_masks(pair: Pair) -> None:
    """Require a mask (h, w), or (h, w, 1), of its size for each image.

    Raises:
        InputError: the masks have another shape.
    """
    last = pair.targets.shape[3:] if pair.targets.shape[3:] == (1,) else ()
    expect_shape(pair.targets, *pair.images.shape[:3], *last, advice="each mask must have the size of its image")


def require_one_per_image(pair: Pair, member: Member, what: str) -> None:
    """Require an array (n,) or (n, 1) beside n images.

    Raises:
        InputError: it has another shape; `what` says what it holds.
    """
    if member.shape in ((len(pair.images),), (len(pair.images), 1)):
        return
    advice = ": save argmax(axis=1) if it is one-hot" if len(member.shape) == 2 else ""
    advice = ": call the array masks if each pixel has one" if len(member.shape) > 2 else advice
    raise InputError(
        f"{member.where} has shape {member.shape}, but '{pair.images.key}' has {pair.images.shape}; one {what} per "
        f"image is needed{advice}"
    )


def _labels(task: Task, source: Source, member: Member) -> Iterator[Any]:
    """Yield the label of each image; None for images that `class_of` leaves out."""
    if member.dtype.kind == "U":
        found, places = np.unique(texts(member), return_inverse=True)
        called = [str(name) for name in found]
    else:
        values = member.read().reshape(-1)
        if not source.class_of:
            yield from values
            return
        different, places = np.unique(values, return_inverse=True)
        called = [str(int(each)) if np.isfinite(each) and each == int(each) else f"{each:g}" for each in different]
    meanings = [label_of(task, source, name) for name in called]
    if None in meanings:
        raise InputError(
            f"{member.where} holds the label {called[meanings.index(None)]}, which has no class: give it one in "
            f"'sources.{task.name}.class_of' in experiment.yaml"
        )
    for place in places.tolist():
        yield None if meanings[place] == LEFT_OUT else meanings[place]


def _masks(
    task: Task, coding: masks.Coding, member: Member, every: Sequence[Member], tally: Tally
) -> Iterator[NDArray[np.uint8]]:
    """Yield the classes of each mask at the task's size; an error's advice depends on the values in all of `every`."""
    if coding.in_colour:
        raise InputError(
            f"{member.where} holds numbers, but 'sources.{task.name}.mask_values' in experiment.yaml declares colours; "
            "declare numbers instead"
        )
    for first, chunk in member.chunks():
        for place, mask in enumerate(chunk):
            name = f"{member.where[:-1]}[{first + place}]'"
            values = whole_numbers(mask.reshape(mask.shape[:2]), name)
            labels, unknown = masks.class_numbers(coding, values)
            if unknown.any() and not coding.snap:
                parts = (part[np.isfinite(part)] for each in every for _, part in each.chunks())
                held = set().union(*(np.unique(part).astype(int).tolist() for part in parts))
                raise InputError(masks.unknown_values(task, coding, Path(name), values, held))
            resized = resize_mask(task, labels)
            tally.add(classes_in(task, labels), resized, round(float(unknown.mean()) * resized.size))
            yield resized
