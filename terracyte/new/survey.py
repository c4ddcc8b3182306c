"""What lies in a folder of labelled images: its kind, classes, sizes, modes, values of masks."""

import collections
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from terracyte.core.errors import InputError
from terracyte.core.splits import SPLITS
from terracyte.ingest.sources import columns
from terracyte.ingest.sources.listing import Sample, masked_samples, shown, visible, walk
from terracyte.ingest.sources.masks import LOSSY, colour, packed
from terracyte.ingest.sources.pictures import KINDS, SUFFIXES, UnreadableError, decoding

_IMAGES, _MASKS = "images", "masks"
_LOOKED_AT = 2000  # pictures whose headers, and masks whose values, are read; evenly spread
_MOST_VALUES = 32  # more different values are no classes
_UNLABELLED = 255
_SHOWN = 5  # of what would be refused
_SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Survey:
    """What was found.

    Attributes:
        kind: of task.
        root: what the source reads: DVC watches all of it.
        images, masks: the folders of both in `root`; "" where classes are labels.
        labels: the CSV file with the classes, in `root`; None for folders.
        group_column: of the groups; None for none.
        classes: by name, with their images (classification) or shares of pixels (segmentation).
        samples: pictures with labels (numbers of `classes`) or masks.
        sizes: width and height of the pictures, with their number.
        modes: of the pictures, as Pillow calls them, with their number.
        bits: most per channel of any picture.
        values: what stands in masks for each class; empty where it is the class's number.
        ignored: the value that nobody labelled; None for none.
        refused: what ingest would refuse, in words.
    """

    kind: Literal["classification", "segmentation"]
    root: Path
    images: str
    masks: str
    labels: str | None
    group_column: str | None
    classes: dict[str, float]
    samples: list[Sample]
    sizes: dict[tuple[int, int], int]
    modes: dict[str, int]
    bits: int
    values: dict[str, int | list[int]] = dataclasses.field(default_factory=dict)
    ignored: int | None = None
    refused: list[str] = dataclasses.field(default_factory=list)

    @property
    def in_colour(self) -> bool:
        """Whether any picture has colours."""
        return not set(self.modes) <= {"1", "L", "I", "I;16", "I;16B", "F", "LA"}


def look(images: Path, masks: Path | None, labels: Path | None, group_column: str | None) -> Survey:
    """Look at a folder.

    Args:
        images: the folder.
        masks: of masks elsewhere; None where they lie in `images`/masks, or where classes are labels.
        labels: a CSV file with classes; None for folders.
        group_column: of the groups.

    Raises:
        InputError: it holds nothing that is understood, or fewer than two classes.
    """
    if not images.is_dir():
        raise InputError(f"{images} is no folder: name the folder of the images")
    if masks is None and (images / _IMAGES).is_dir() and (images / _MASKS).is_dir():
        images, masks = images / _IMAGES, images / _MASKS
    if masks is not None:
        return _segmentation(images, masks, group_column)
    _require_own(images.resolve())
    if labels is not None and images.resolve() != labels.resolve().parent:
        raise InputError(f"{labels} does not lie in {images}: put it there, with file names as seen from there")
    samples, classes = _labelled(images, labels)
    sizes, modes, bits, refused = _headers([sample.image for sample in samples])
    few = [f"'{name}' has {count:.0f}" for name, count in classes.items() if count < len(SPLITS)]
    if few:
        refused.append(
            f"each of {len(SPLITS)} splits needs an image of every class, and {', '.join(few)}: add some, or name the "
            f"class under 'class_of' in experiment.yaml, and take it out of 'classes'"
        )
    return Survey(
        kind="classification",
        root=images,
        images="",
        masks="",
        labels=labels.name if labels else None,
        group_column=group_column,
        classes=classes,
        samples=samples,
        sizes=sizes,
        modes=modes,
        bits=bits,
        refused=refused,
    )


def describe(found: Survey) -> str:
    """The survey as a table of two columns."""
    common = collections.Counter(found.sizes).most_common(3)
    sizes = ", ".join(f"{width}x{height} ({count})" for (width, height), count in common)
    unit = "of the pixels" if found.kind == "segmentation" else "images"
    form = "{:.1%}" if found.kind == "segmentation" else "{:.0f}"
    lines = [
        ("kind", f"{found.kind}: {'images with masks' if found.kind == 'segmentation' else 'a class for each image'}"),
        ("images", f"{len(found.samples)} in {found.root}"),
        ("sizes", sizes + (f" and {len(found.sizes) - 3} others" if len(found.sizes) > 3 else "")),
        ("pictures", ", ".join(f"{mode} ({count})" for mode, count in found.modes.items()) + f", {found.bits} bits"),
        (f"classes, {unit}", ", ".join(f"{name} {form.format(amount)}" for name, amount in found.classes.items())),
    ]
    if found.values:
        lines.append(("masks hold", ", ".join(f"{value} for {name}" for name, value in found.values.items())))
    if found.ignored is not None:
        lines.append(("not labelled", f"{found.ignored} in masks, read as: nobody knows"))
    if found.group_column:
        lines.append(("groups", f"the column {found.group_column}"))
    lines += [("refused", problem) for problem in found.refused]
    return "\n".join(f"{name:30}{text}" for name, text in lines)


def _require_own(root: Path) -> None:
    """Refuse a folder in which the project lies: DVC would watch what it writes itself."""
    if Path().resolve().is_relative_to(root):
        raise InputError(
            f"DVC would watch all of {root}, this project included: put the images into a folder of their own"
        )


def _labelled(root: Path, labels: Path | None) -> tuple[list[Sample], dict[str, float]]:
    """Pictures with their classes, by class and name, or in the order of the CSV file."""
    if labels is not None:
        cells = columns.read(labels, "label")
        named = [(root / name, label) for name, label in cells.items()]
    else:
        folders = [path for path in visible(root) if path.is_dir()]
        if folders and {folder.name.lower() for folder in folders} <= _SPLITS:
            raise InputError(
                f"{root} holds {shown([folder.name for folder in folders])}: splits that somebody made. `balance` "
                "makes its own, which no group straddles: put all class folders into one folder, or write a CSV"
            )
        named = [(path, folder.name) for folder in folders for path in walk(folder)]
        named = [(path, label) for path, label in named if path.suffix.lower() in SUFFIXES]
    if not named:
        raise InputError(
            f"{root} holds no folder of {KINDS} for each class, no images/ with masks/, and there is no CSV"
        )
    counts = collections.Counter(label for _, label in named)
    if len(counts) < 2:
        raise InputError(f"{root} holds one class only, '{next(iter(counts))}': at least two are needed")
    classes = sorted(counts)
    samples = [Sample(image=path, label=classes.index(label)) for path, label in named]
    return samples, {name: float(counts[name]) for name in classes}


def _segmentation(images: Path, masks: Path, group_column: str | None) -> Survey:
    root = Path(os.path.commonpath([images.resolve(), masks.resolve()]))
    if root in (images.resolve(), masks.resolve()):
        raise InputError(f"one of {images} and {masks} lies in the other: put them side by side")
    _require_own(root)
    listing = masked_samples(images, masks)
    sizes, modes, bits, refused = _headers([sample.image for sample in listing.samples])
    shares, in_colour, unreadable = _mask_values([sample.mask for sample in listing.samples if sample.mask])
    classes, values, ignored = _meaning(shares, in_colour)
    return Survey(
        kind="segmentation",
        root=root,
        images=images.resolve().relative_to(root).as_posix(),
        masks=masks.resolve().relative_to(root).as_posix(),
        labels=None,
        group_column=group_column,
        classes=classes,
        samples=listing.samples,
        sizes=sizes,
        modes=modes,
        bits=bits,
        values=values,
        ignored=ignored,
        refused=[*refused, *unreadable, *listing.incomplete],
    )


def _headers(paths: Sequence[Path]) -> tuple[dict[tuple[int, int], int], dict[str, int], int, list[str]]:
    """Sizes and modes with their numbers, most bits, and what cannot be read."""
    sizes: collections.Counter[tuple[int, int]] = collections.Counter()
    modes: collections.Counter[str] = collections.Counter()
    most, refused = 1, []
    for path in tqdm(_spread(paths), "looking at pictures", leave=False, disable=None):
        try:
            with decoding(path) as (picture, bits):
                sizes[picture.size] += 1
                modes[picture.mode] += 1
                most = max(most, bits)
        except UnreadableError as error:
            refused.append(str(error))
    if not sizes:
        raise InputError(f"none of {len(paths)} files can be read, first: {refused[0]}")
    return dict(sizes), dict(modes), most, refused[:_SHOWN]


def _mask_values(paths: Sequence[Path]) -> tuple[dict[int, float], bool, list[str]]:
    """Share of the pixels of each value, colours as numbers; whether they are colours; what cannot be read."""
    counts: collections.Counter[int] = collections.Counter()
    coloured, refused = False, []
    for path in tqdm(_spread(paths), "looking at masks", leave=False, disable=None):
        try:
            codes, in_colour = _codes(path)
        except UnreadableError as error:
            refused.append(str(error))
            continue
        coloured |= in_colour
        for value, count in zip(*np.unique(codes, return_counts=True), strict=True):
            counts[int(value)] += int(count)
        if len(counts) > _MOST_VALUES:
            raise InputError(
                f"{path}: masks hold more than {_MOST_VALUES} different values: are they photos, or smoothed? "
                "A mask has one value for each class"
            )
    total = sum(counts.values())
    return {value: counts[value] / total for value in sorted(counts)}, coloured, refused[:_SHOWN]


def _codes(path: Path) -> tuple[NDArray[np.int64], bool]:
    """A mask's values, colours as one number; whether they are colours."""
    with decoding(path) as (picture, _):
        if picture.format in LOSSY:
            raise InputError(
                f"{path} is a {LOSSY[picture.format]}, whose compression alters the values of masks: save "
                "them as png, or write the experiment by hand, with mask_values and snap_masks"
            )
        values = np.asarray(picture)
        if values.ndim == 2:
            return values.astype(np.int64), False
        return packed(picture.convert("RGB")), True


def _meaning(
    shares: dict[int, float], in_colour: bool
) -> tuple[dict[str, float], dict[str, int | list[int]], int | None]:
    """Classes with their shares, their values where these are no class numbers, and what nobody labelled."""
    numbers = list(shares)
    # a 255 above small numbers means "not labelled" nearly always; 0 and 255 alone are two classes
    ignored = _UNLABELLED if not in_colour and len(numbers) > 2 and numbers[-2] < len(numbers) else None
    ignored = ignored if ignored in numbers else None
    scored = [number for number in numbers if number != ignored]
    if len(scored) < 2:
        raise InputError(f"masks hold nothing but {', '.join(map(str, numbers))}: at least two classes are needed")
    if in_colour:
        colours = [colour(code) for code in scored]
        names = ["colour {}-{}-{}".format(*each) for each in colours]
        return dict(zip(names, shares.values(), strict=True)), dict(zip(names, colours, strict=True)), None
    names = [f"value {number}" for number in scored]
    classes = {name: shares[number] for name, number in zip(names, scored, strict=True)}
    plain = scored == list(range(len(scored))) and ignored is None
    return classes, {} if plain else dict(zip(names, scored, strict=True)), ignored


def _spread(paths: Sequence[Path]) -> list[Path]:
    return [paths[place] for place in np.linspace(0, len(paths) - 1, min(len(paths), _LOOKED_AT)).astype(int)]
