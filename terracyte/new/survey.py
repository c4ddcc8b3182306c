"""A survey of labelled images: their kind, classes, splits, sizes, modes and mask values."""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from terracyte.core.errors import one_line
from terracyte.core.splits import SPLITS
from terracyte.ingest.sources.listing import alike_form
from terracyte.tasks.task import Task

LOOKED_AT = 2000  # most images whose form, and most masks whose values, are read; evenly spread


@dataclasses.dataclass(frozen=True, kw_only=True)
class Survey:
    """What was found in a set of labelled images.

    Attributes:
        kind: the kind of task.
        source: the kind of source that reads the images.
        root: the folder or file that the source reads: DVC tracks all of it.
        count: the number of images.
        images, masks: the folders of both in `root`; "" where there are none.
        labels: the CSV file with the classes, in `root`; None for none.
        group_column, split_column: columns of a CSV file, or arrays, with the groups and the given splits; None for
            none.
        classes: number of images (classification) or share of the pixels (segmentation), by class name.
        splits: number of images, by given split in the order of `SPLITS`; empty where none is given.
        sizes: number of pictures that were looked at, by width and height.
        modes: number of pictures that were looked at, by Pillow's mode.
        bits: the largest number of bits per channel in any picture.
        transparent: the number of pictures with transparent pixels, of those that were looked at.
        pixel_range: the range of nearly all pixel values, if any picture has more than 8 bits, or pixels of arrays
            are neither in 0-255 nor in 0-1; else None.
        values: the value or values of each class in masks; empty where they are the classes' numbers.
        class_of: the class name of each label in arrays; empty where labels are the classes' numbers.
        ignored: the value of unlabelled pixels; None for none.
        doubts: what is read but may not be meant, in words.
        not_read: columns of CSV files beside the pictures, or arrays, that nothing reads, in words.
        refused: what ingest or balance would refuse, in words.
        read: returns some of the images at a task's size, (n, h, w, c) uint8, evenly spread.
    """

    kind: Literal["classification", "segmentation"]
    source: Literal["folder", "npz"] = "folder"
    root: Path
    count: int
    images: str = ""
    masks: str = ""
    labels: str | None = None
    group_column: str | None = None
    split_column: str | None = None
    classes: dict[str, float]
    splits: dict[str, int] = dataclasses.field(default_factory=dict)
    sizes: dict[tuple[int, int], int]
    modes: dict[str, int]
    bits: int = 8
    transparent: int = 0
    pixel_range: tuple[float, float] | None = None
    values: Mapping[str, int | list[int]] = dataclasses.field(default_factory=dict)
    class_of: Mapping[str, str] = dataclasses.field(default_factory=dict)
    ignored: int | None = None
    doubts: list[str] = dataclasses.field(default_factory=list)
    not_read: list[str] = dataclasses.field(default_factory=list)
    refused: list[str] = dataclasses.field(default_factory=list)
    read: Callable[[Task], NDArray[np.uint8]]

    @property
    def in_colour(self) -> bool:
        """Whether any picture has colours."""
        return not set(self.modes) <= {"1", "L", "I", "I;16", "I;16B", "F", "LA"}

    @property
    def cut(self) -> list[str]:
        """The splits that `balance` will cut from the given training split."""
        return [name for name in SPLITS if self.splits and name not in self.splits]


def spread(count: int, most: int = LOOKED_AT) -> NDArray[np.int64]:
    """Up to `most` of the numbers below `count`, evenly spread."""
    return np.linspace(0, count - 1, min(count, most)).astype(np.int64)


def count_splits(splits: Iterable[str]) -> dict[str, int]:
    """Count the images of each given split, in the order of `SPLITS`."""
    counts = collections.Counter(splits)
    return {name: counts[name] for name in SPLITS if counts[name]}


def pixel_range(
    pictures: Iterable[NDArray[Any]], otherwise: tuple[float, float] = (0.0, 65535.0)
) -> tuple[float, float]:
    """Return the range of nearly all pixels of nearly all pictures: a few may be black, white or damaged.

    Where no picture has two values, return `otherwise`.
    """
    finite = (each[np.isfinite(each)].astype(np.float64) for each in pictures)
    ends = [np.quantile(each, [0.001, 0.999]) for each in finite if len(each)]
    varied = np.array([each for each in ends if each[0] < each[1]])
    if not len(varied):
        return otherwise
    return float(np.quantile(varied[:, 0], 0.02)), float(np.quantile(varied[:, 1], 0.98))


def too_few(
    classes: Sequence[str], held: Sequence[Sequence[int]], splits: Sequence[str], groups: Sequence[str], key: str
) -> list[str]:
    """Return why `balance` will refuse to split the images, in words; empty if it will not.

    Args:
        classes: the names of the classes.
        held: the numbers of the classes that each image shows.
        splits: the given split of each image; "" for none.
        groups: the declared group of each image, which no split parts; "" for none.
        key: the key of `sources` that merges classes.
    """
    shown = [(row, label) for row, labels in enumerate(held) for label in labels]
    counts = collections.Counter((splits[row], label) for row, label in shown)
    given = [name for name in SPLITS if any(split == name for split, _ in counts)]
    if not given:
        parts: list[set[str | int]] = [set() for _ in classes]
        for row, label in shown:
            parts[label].add(groups[row] or row)
        few = [
            f"'{name}' has only {counts['', label]}" + f" in {len(parts[label])} groups" * any(groups)
            for label, name in enumerate(classes)
            if len(parts[label]) < len(SPLITS)
        ]
        told = f"each of {len(SPLITS)} splits needs an image of every class, but {', '.join(few)}"
    else:
        needed = dict.fromkeys(given, 1) | {"train": 1 + len(SPLITS) - len(given)}
        few = [
            f"{split} has only {counts[split, label]} of '{name}'"
            for split, least in needed.items()
            for label, name in enumerate(classes)
            if counts[split, label] < least
        ]
        told = f"each split, also one cut from train, needs an image of every class, but {', '.join(few)}"
    advice = f"add images, or merge or drop the class ('{key}' in experiment.yaml) and remove it from 'classes'"
    own = "" if not given else "; or let `balance` make its own split: 'split: own' in params.yaml"
    return [f"{told}: {advice}{own}"] if few else []


def describe(found: Survey) -> str:
    """The survey as a table of two columns."""
    common = collections.Counter(found.sizes).most_common(3)
    sizes = ", ".join(f"{width}x{height} ({count})" for (width, height), count in common)
    modes = ", ".join(f"{mode} ({count})" for mode, count in found.modes.items())
    clear = f", {found.transparent} transparent in places: these will become white"
    unit = "of the pixels" if found.kind == "segmentation" else "images"
    form = "{:.1%}" if found.kind == "segmentation" else "{:.0f}"
    looked = sum(found.sizes.values())
    some = f", {looked} looked at" if looked < found.count else ""
    lines = [
        ("kind", f"{found.kind}: {'images with masks' if found.kind == 'segmentation' else 'a class for each image'}"),
        ("images", f"{found.count} in {found.root}{some}"),
        ("sizes", sizes + (f" and {len(found.sizes) - 3} others" if len(found.sizes) > 3 else "")),
        ("pictures", f"{modes}, {found.bits} bits{clear * bool(found.transparent)}"),
        (f"classes, {unit}", ", ".join(f"{name} {form.format(amount)}" for name, amount in found.classes.items())),
    ]
    forms = [alike_form(name) for name in found.classes]
    if alike := [f"'{name}'" for name in found.classes if forms.count(alike_form(name)) > 1]:
        advice = "if they mean one class, merge them with 'class_of' in experiment.yaml, and keep one in 'classes'"
        lines.append(("look at", f"{', '.join(alike)} are alike: {advice}"))
    lines += [("look at", doubt) for doubt in found.doubts]
    if found.splits:
        cut = "".join(f"; {name} will be cut from train" for name in found.cut)
        lines.append(("split, as given", ", ".join(f"{name} {count}" for name, count in found.splits.items()) + cut))
    if found.values:
        lines.append(("masks hold", ", ".join(f"{value} for {name}" for name, value in found.values.items())))
    if found.ignored is not None:
        lines.append(("not labelled", f"{found.ignored} in masks: pixels of unknown class"))
    if found.group_column:
        lines.append(("groups", f"the {'array' if found.source == 'npz' else 'column'} {found.group_column}"))
    if found.not_read:
        advice = "--groups and --split choose a column of the --labels file, or of groups.csv and splits.csv"
        if found.source == "npz":
            advice = "--groups names the array, without its split, with the patient or site of each image"
        lines.append(("not read", f"{', '.join(found.not_read)}; {advice}"))
    lines += [("refused", problem) for problem in found.refused]
    return "\n".join(f"{name:30}{one_line(text)}" for name, text in lines)  # names in files may hold anything
