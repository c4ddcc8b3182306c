"""Survey a folder of pictures with classes or masks."""

import collections
import contextlib
import functools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from terracyte.core.errors import InputError, tell
from terracyte.core.splits import split_of
from terracyte.ingest.sources import columns
from terracyte.ingest.sources.listing import (
    OF_MASK,
    UNLABELLED,
    Sample,
    class_parents,
    paired_samples,
    split_folders,
)
from terracyte.ingest.sources.masks import LOSSY, opaque_rgb, packed
from terracyte.ingest.sources.palettes import Painted, Palettes, painted
from terracyte.ingest.sources.pictures import (
    KINDS,
    SUFFIXES,
    UnreadableError,
    decoding,
    exif_orientation,
    is_transparent,
    load_image,
)
from terracyte.ingest.sources.resizing import resize_image
from terracyte.ingest.sources.tree import shown, visible, walk
from terracyte.new import mask_classes
from terracyte.new.survey import Survey, count_splits, pixel_range, spread, too_few
from terracyte.tasks.task import Task

_IMAGES, _MASKS = "images", "masks"
_SPLIT = "split"  # a column of this name is taken as --split
_SHOWN = 5  # most refused pictures that are named
_COLOURS = "colours"  # a kind of mask values
_OF_IMAGES = {"images", "image", "imgs", "img", "img_dir", "jpegimages", "leftimg8bit"}
_OF_MASKS = {"masks", "mask", "labels", "label", "annotations", "annotation", "ann_dir", "gt", "gtfine", "groundtruth"}
_OF_MASKS |= {"ground_truth", "segmentationclass", "segmentationobject"}


def look(
    images: Path, masks: Path | None, labels: Path | None, group_column: str | None, split_column: str | None
) -> Survey:
    """Survey a folder.

    Args:
        images: the folder.
        masks: the folder of masks that lie elsewhere; None for masks in `images`/masks, or for classes of whole images.
        labels: a CSV file with the classes; None for a folder per class.
        group_column: the column with the groups; None for none.
        split_column: the column with given splits; None for the column `split` of `labels`, if that names splits.

    Raises:
        InputError: the folder has no layout that is supported, or holds fewer than two classes.
    """
    if not images.is_dir():
        raise InputError(f"{images} is not a folder: give the folder of the images, or an .npz file")
    if labels is not None:
        if masks is not None:
            raise InputError("--labels gives a class to each image, --masks to each pixel: leave one of them out")
        return _classification(images, labels, group_column, split_column)
    parts = [images, *split_folders(images, UNLABELLED)]
    if masks is None and any((part / _IMAGES).is_dir() and (part / _MASKS).is_dir() for part in parts):
        return _segmentation(images, _IMAGES, _MASKS, group_column, split_column)
    if masks is not None:
        if not masks.is_dir():
            raise InputError(f"{masks} is not a folder: give the folder of the masks")
        root = Path(os.path.commonpath([images.resolve(), masks.resolve()]))
        if root in (images.resolve(), masks.resolve()):
            raise InputError(f"{images} and {masks} are the same folder, or one is in the other: put them side by side")
        ours, theirs = (folder.resolve().relative_to(root).as_posix() for folder in (images, masks))
        return _segmentation(root, ours, theirs, group_column, split_column)
    return _classification(images, None, group_column, split_column)


def _classification(root: Path, labels: Path | None, group_column: str | None, split_column: str | None) -> Survey:
    _require_own(root.resolve())
    if labels is not None and not labels.is_file():
        raise InputError(f"{labels} is not a file: give a CSV file with the columns file and label")
    if labels is not None and root.resolve() != labels.parent.resolve():
        raise InputError(f"{labels} is not in {root}: move it there, or give {labels.parent} instead of {root}")
    # a column `split` that names no split is ignored
    if labels is not None and split_column is None and (column := columns.find(columns.header(labels), _SPLIT)):
        split_column = column if any(map(split_of, columns.read(labels, root, column).values())) else None
    named, odd, doubts = _in_folders(root) if labels is None else (_in_sheet(root, labels), [], [])
    if not named and labels is not None:
        raise InputError(f"{labels} lists no pictures: add a line for each")
    if not named:
        raise InputError(
            f"{root} holds neither a folder of {KINDS} files for each class nor images/ and masks/: arrange it in one "
            "of these ways, or give --labels or --masks"
        )
    counts = collections.Counter(label for _, label, _ in named)
    if len(counts) < 2:
        one = next(iter(counts))
        within = [path.name for path in visible(root / one) if path.is_dir()] if (root / one).is_dir() else []
        advice = f"; if its folders {shown(within)} are the classes, give {root / one}" if len(within) > 1 else ""
        raise InputError(f"{root} holds only one class, '{one}': at least two are needed{advice}")
    classes = sorted(counts)
    paths = [path for path, _, _ in named]
    sheet, own = labels.name if labels else None, [split for _, _, split in named]
    common, splits, groups, refused = _pictures(root, paths, own, sheet, group_column, split_column)
    held = [[classes.index(label)] for _, label, _ in named]
    return Survey(
        kind="classification",
        labels=sheet,
        classes={name: float(counts[name]) for name in classes},
        doubts=doubts,
        refused=[*odd, *refused, *too_few(classes, held, splits, groups, "class_of")],
        **common,
    )


def _segmentation(root: Path, images: str, masks: str, group_column: str | None, split_column: str | None) -> Survey:
    _require_own(root.resolve())
    listing = paired_samples(root, images, masks)
    paths = [sample.image for sample in listing.samples]
    own = [sample.split for sample in listing.samples]
    common, splits, groups, refused = _pictures(root, paths, own, None, group_column, split_column)
    counts, found, in_colour, unreadable = _mask_values(listing.samples)
    meaning = mask_classes.meaning(counts, in_colour)
    few = []
    if len(found) == len(paths):  # in the others, there may be more of each class
        held = [meaning.shown(values) for values in found]
        few = too_few(list(meaning.classes), held, splits, groups, "mask_values")
    return Survey(
        kind="segmentation",
        images=images,
        masks=masks,
        classes=meaning.classes,
        values=meaning.values,
        ignored=meaning.ignored,
        doubts=[note.removeprefix("note: ") for note in listing.notes],
        refused=[*refused, *unreadable, *listing.incomplete, *few],
        **common,
    )


def _pictures(
    root: Path, paths: Sequence[Path], own: list[str], sheet: str | None, group_column: str | None, split: str | None
) -> tuple[dict[str, Any], list[str], list[str], list[str]]:
    """Return the fields common to all surveys, splits (`own`, or a column's), groups, and what cannot be read."""
    names = [path.relative_to(root).as_posix() for path in paths]
    groups = columns.declared_groups(root, sheet, group_column, names)
    splits = columns.declared_splits(root, sheet, split, names) if split else own
    sizes, modes, bits, transparent, refused = _headers(paths)
    common = {
        "root": root,
        "count": len(paths),
        "group_column": group_column,
        "split_column": split,
        "splits": count_splits(splits),
        "sizes": sizes,
        "modes": modes,
        "bits": bits,
        "transparent": transparent,
        "pixel_range": pixel_range(_deep(paths)) if bits > 8 else None,
        "not_read": _not_read(root, sheet, group_column, split),
        "read": functools.partial(_read, paths),
    }
    return common, splits, groups, refused


def _require_own(root: Path) -> None:
    """Refuse a folder that contains the project: DVC would track its own outputs as inputs."""
    if Path().resolve().is_relative_to(root):
        raise InputError(
            f"{root} contains this project, which DVC would track with the images: put the images into a folder of "
            "their own"
        )


def _in_folders(root: Path) -> tuple[list[tuple[Path, str, str]], list[str], list[str]]:
    """Return pictures with classes and splits, ordered by split, class and name; what ingest would refuse; doubts."""
    splits = split_folders(root)
    folders = [
        (path, split) for part, split in (splits or {root: ""}).items() for path in visible(part) if path.is_dir()
    ]
    if splits and not folders:
        raise InputError(
            f"{root} holds the splits {shown([part.name for part in splits])}: there must be a folder for each class, "
            "or images/ and masks/, in each of them"
        )
    class_parents(root, splits)
    called = {folder.name.casefold(): folder for folder, _ in folders}
    pair = [[called[name] for name in sorted(names & called.keys())] for names in (_OF_IMAGES, _OF_MASKS)]
    if all(pair):
        (images, *_), (masks, *_) = pair
        advice = "rename them to images and masks in each split" if splits else f"give {images} --masks {masks}"
        if not any(path.suffix.lower() in SUFFIXES for path in walk(masks)):
            advice = (
                f"but {masks} holds no pictures; boxes and polygons (json, xml, txt) are not read: draw them as masks"
            )
        raise InputError(f"{images} and {masks} look like images and masks, not classes: {advice}")
    files = [(path, folder.name, split) for folder, split in folders for path in walk(folder)]
    named = [each for each in files if each[0].suffix.lower() in SUFFIXES]
    others = [path.relative_to(root).as_posix() for path, *_ in files if path.suffix.lower() not in SUFFIXES]
    empty = sorted({folder.name for folder, _ in folders} - {label for _, label, _ in named})
    refused = [f"files that are not {KINDS}: {shown(others)}"] * bool(others)
    refused += [f"folders without pictures, which cannot be classes: {shown(empty)}"] * bool(empty)
    return named, refused, _doubts(root, named)


def _doubts(root: Path, named: Sequence[tuple[Path, str, str]]) -> list[str]:
    """Return in words what is read, but may not be meant: folders within classes, and masks beside their pictures."""
    within = {inner for path, _, split in named for inner in path.relative_to(root).parts[2 if split else 1 : -1][:1]}
    known = {(path.parent, path.stem) for path, _, _ in named}
    masks = [path for path, _, _ in named if OF_MASK.search(path.stem)]
    masks = [path for path in masks if (path.parent, OF_MASK.sub("", path.stem)) in known]
    nested = f"below the classes lie the folders {shown(sorted(within))}: a picture's class is its topmost folder"
    beside = (
        f"{len(masks)} pictures are called like another one of their folder and mask, such as {masks[0].name}: if they "
        "are masks, move them into a folder of their own and give --masks"
        if masks
        else ""
    )
    return [nested] * bool(within) + [beside] * bool(masks)


def _in_sheet(root: Path, labels: Path) -> list[tuple[Path, str, str]]:
    """Return pictures with their classes, in the order of the CSV file, and "" as their split."""
    found = []
    for name, label in columns.read(labels, root, "label").items():
        if not label:
            raise InputError(f"{labels}: '{name}' has no label; fill it in, or remove the line")
        if "|" in label:
            raise InputError(f"{labels}: '{name}' has the label '{label}': an image has one class, without '|'")
        path = columns.named(root, name)
        if not path.exists():
            alike = (each for each in walk(root) if each.stem.casefold() == Path(name).stem.casefold())
            near = next((f" (but there is {each.relative_to(root)})" for each in alike), "")
            raise InputError(f"{labels} names '{name}', which is missing in {root}{near}: add it, or correct the line")
        found.append((path, label, ""))
    return found


def _not_read(root: Path, sheet: str | None, group_column: str | None, split_column: str | None) -> list[str]:
    """List the CSV columns that nothing reads: without the patient column, a patient straddles splits."""
    read: dict[str, set[str | None]] = collections.defaultdict(set)
    read[sheet or columns.GROUPS_FILE].add(group_column)
    read[sheet or columns.SPLITS_FILE].add(split_column)
    left = {}
    for path in visible(root):
        if path.suffix.lower() == ".csv" and path.is_file():
            names = columns.header(path)
            used = {columns.find(names, "file"), *(columns.label_columns(path) if path.name == sheet else ())}
            left[path.name] = [name for name in names if name not in used | read[path.name]]
    return [f"{name} ({shown(unread)})" for name, unread in left.items() if unread]


def _headers(paths: Sequence[Path]) -> tuple[dict[tuple[int, int], int], dict[str, int], int, int, list[str]]:
    """Count pictures by size and mode; return both, the most bits, how many are transparent, and what is unreadable."""
    if not paths:
        raise InputError("there are no images with masks: a folder is empty, or no mask has the name of an image")
    sizes: collections.Counter[tuple[int, int]] = collections.Counter()
    modes: collections.Counter[str] = collections.Counter()
    most, transparent, refused = 1, 0, []
    for place in tqdm(spread(len(paths)), "looking at pictures", leave=False, disable=None):
        try:
            with decoding(paths[place]) as (picture, bits):
                width, height = picture.size
                sizes[(height, width) if exif_orientation(picture) > 4 else (width, height)] += 1  # a quarter turn
                modes[picture.mode] += 1
                most = max(most, bits)
                transparent += bits <= 8 and is_transparent(picture)
        except UnreadableError as error:
            refused.append(str(error))
    if not sizes:
        raise InputError(f"none of {len(refused)} files can be read; the first: {refused[0]}")
    return dict(sizes), dict(modes), most, transparent, refused[:_SHOWN]


def _mask_values(samples: Sequence[Sample]) -> tuple[mask_classes.Counts, list[set[int]], bool, list[str]]:
    """Return the number of pixels of each value, each mask's values, whether these are colours, and what is refused.

    Raises:
        InputError: no mask can be read, masks are of different kinds or palettes, or see `mask_classes.count`.
    """
    counts: mask_classes.Counts = collections.Counter()
    kinds: dict[str, Path] = {}
    palettes = Palettes()
    found, refused = [], []
    for place in tqdm(spread(len(samples)), "looking at masks", leave=False, disable=None):
        path = samples[place].mask
        assert path is not None
        try:
            values, kind, colours = _values(path)
            with decoding(samples[place].image) as (picture, _):
                size = picture.size
        except UnreadableError as error:
            refused.append(str(error))
            continue
        height, width = values.shape
        if sorted(size) != sorted((width, height)):  # EXIF may rotate one of the two
            refused.append(f"{path} has {width}x{height} pixels, but its image {size[0]}x{size[1]}")
        kinds.setdefault(kind, path)
        if len(kinds) > 1:
            told = " and ".join(f"{first} holds {kind}" for kind, first in kinds.items())
            raise InputError(f"{told}: save all masks in the same way")
        palettes.require_same(path, colours)
        found.append(mask_classes.count(counts, values, path))
    if not counts:
        raise InputError(f"no pair of image and mask can be read; the first: {refused[0]}")
    return counts, found, _COLOURS in kinds, refused[:_SHOWN]


def _values(path: Path) -> tuple[NDArray[np.int32], str, Painted]:
    """Return a mask's values (a colour as one number), their kind, and the colours in which a palette shows them."""
    with decoding(path) as (picture, _):
        if picture.format in LOSSY:
            raise InputError(
                f"{path} is a {LOSSY[picture.format]}, whose compression alters the values of masks: save "
                "them as png, or write the experiment by hand, with mask_values and snap_masks"
            )
        if picture.mode == "LA":
            raise InputError(f"{path} is grey with transparency: save masks without transparency")
        if len(picture.getbands()) > 1:
            return packed(opaque_rgb(picture, path)), _COLOURS, {}
        if picture.mode == "F":
            raise InputError(f"{path} holds decimal numbers, but the values of masks must be whole: save it as png")
        values = np.asarray(picture).astype(np.int32)
        return values, "single bits" if picture.mode == "1" else "numbers", painted(picture, values)


def _read(paths: Sequence[Path], task: Task) -> NDArray[np.uint8]:
    """Read some of the pictures at the task's size (n, h, w, c).

    Raises:
        InputError: none can be read as an image of the task.
    """
    images, refused = [], []
    for place in tqdm(spread(len(paths)), "measuring", leave=False, disable=None):
        try:
            images.append(resize_image(task, load_image(task, paths[place]).picture))
        except UnreadableError as error:
            refused.append(str(error))
    if not images:
        raise InputError(f"none of {len(refused)} pictures can be used; the first: {refused[0]}")
    if refused:
        told = "; ".join(refused[:_SHOWN])
        tell(f"note: ingest would refuse at least {len(refused)} of {len(paths)} pictures: {told}")
    return np.stack(images)


def _deep(paths: Sequence[Path]) -> Iterator[NDArray[Any]]:
    """Yield the pixels of up to 100 pictures, without those of 8 bits or fewer."""
    for place in spread(len(paths), 100):
        # `_headers` reports the unreadable ones
        with contextlib.suppress(UnreadableError), decoding(paths[place]) as (picture, bits):
            if bits > 8:
                yield np.asarray(picture)
