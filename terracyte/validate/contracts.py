"""The data contracts: expectations on the rows of small tables, which the module `expectations` checks.

The tables are made one after the other, since a later one can be computed only if the earlier ones keep
their contracts: files (one row per .npy), images (the manifest), classes (one row per scored class).
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from terracyte.core import files, paths
from terracyte.core.splits import SPLITS
from terracyte.images.statistics import STATISTICS
from terracyte.params import Validate
from terracyte.tasks.task import Task

_SPLIT = "declared_split"  # a column that only some sources have


@dataclasses.dataclass(frozen=True)
class Expected:
    """One contract.

    Attributes:
        sentence: the expectation in words, unique within its table.
        kind: the name of a class of `great_expectations.expectations`.
        arguments: the arguments of that class: the column or columns, and what to expect of them.
        advice: what to do if the expectation fails, which is fatal; None if a failure is only recorded.
    """

    sentence: str
    kind: str
    arguments: Mapping[str, Any]
    advice: str | None = None

    @property
    def severity(self) -> str:
        """`fatal` or `recorded`."""
        return "recorded" if self.advice is None else "fatal"

    @property
    def columns(self) -> list[str]:
        """The columns that the expectation reads."""
        given = self.arguments
        return given.get("column_list") or [given[key] for key in ("column", "column_A", "column_B") if key in given]


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows, the column (`key`) that identifies a row to a reader, and the contracts on the rows."""

    name: str
    key: str
    rows: pd.DataFrame
    contracts: list[Expected]


def raw_tables(task: Task, manifest: pd.DataFrame, settings: Validate) -> Iterator[Table]:
    """Yield the tables of the raw form: files, images, classes; each is made only when the iterator reaches it.

    Raises:
        InputError: a file is missing or broken.
    """
    yield _files(task, manifest)
    contracts = [*_identity(), *_targets(task), *_statistics(), *_oddities(settings), *_repeats(task, settings)]
    if _SPLIT in manifest:
        known = f"each image is given to {', '.join(SPLITS[:-1])} or {SPLITS[-1]}"
        contracts.append(_among(_SPLIT, SPLITS, known, "run ingest again"))
        contracts.append(_between("splits", 1, 1, "no image content is given to several splits"))
    yield Table("images", "name", _count_repeats(task, manifest), contracts)
    yield _classes(task, manifest, settings)


def cleaned_tables(task: Task, cleaned: pd.DataFrame, reasons: Sequence[str], settings: Validate) -> Iterator[Table]:
    """Yield the tables of a cleaned manifest: dropped images, kept images, classes of the kept images."""
    kept, dropped = cleaned[cleaned["keep"]], cleaned[~cleaned["keep"]]
    defect = "this is a defect of terracyte/clean/decide.py: report it"
    yield Table(
        "dropped images", "name", dropped,
        [_among("reason", reasons, "each dropped image has a known reason", defect)],
    )  # fmt: skip
    yield Table(
        "kept images", "name", kept,
        [
            _among("reason", [""], "no kept image has a reason to go", defect),
            _unique("content_hash", "no image content is kept twice", defect),
            *_oddities(settings),
        ],
    )  # fmt: skip
    yield _classes(task, kept, settings)


def _files(task: Task, manifest: pd.DataFrame) -> Table:
    """Describe each array in a row: number of entries, their shape, dtype; largest mean or deviation of images' greys.

    Both are at most 1 if pixels lie in 0-1. The mean alone would not do: of a few bright dots on black it is below 1,
    too, but their deviation is above 1.
    """
    largest = manifest[["brightness", "contrast"]].max().max()
    rows = [_describe_file(paths.images(task.name), task.image_shape) | {"brightest": largest}]
    if task.dense:
        rows.append(_describe_file(paths.masks(task.name), task.image_shape[:2]))
    again = "run ingest again"
    contracts = [
        _among("entries", [len(manifest)], "each file has one entry per row of the manifest", again),
        _equal("shape", "declared", "each entry has the shape that params.yaml declares", again),
        _among("dtype", ["uint8"], "pixels are stored as uint8", again),
        _between(
            "brightest", 1, 255, "pixels use the range 0 to 255, not 0 to 1",
            "scale the source's pixels to 0 to 255",
        ),
    ]  # fmt: skip
    return Table("files", "file", pd.DataFrame(rows), contracts)


def _describe_file(path: Path, declared: tuple[int, ...]) -> dict[str, Any]:
    array = files.map_array(path)
    shape, expected = ("x".join(map(str, each)) for each in (array.shape[1:], declared))
    return {
        "file": path.name, "entries": len(array), "shape": shape, "declared": expected, "dtype": str(array.dtype)
    }  # fmt: skip


def _identity() -> list[Expected]:
    again = "run ingest again"
    return [
        _equal("id", "row", "ids count up from 0, as images.npy does", again),
        _unique("name", "names are unique", "give each image of the source a name of its own"),
    ]


def _targets(task: Task) -> list[Expected]:
    classes = range(len(task.classes))
    if not task.dense:
        advice = f"correct the label, or add its class to tasks.{task.name}.classes"
        return [_among("label", classes, f"each label is one of 0 to {classes[-1]}", advice)]
    height, width, _ = task.image_shape
    return [
        Expected(
            f"each of the {height}x{width} pixels of a mask has one of the labels 0 to {classes[-1]}",
            "ExpectMulticolumnSumToEqual",
            {"column_list": [f"pixels_{k}" for k in classes], "sum_total": height * width},
            f"correct the mask, or add its class to tasks.{task.name}.classes",
        )
    ]


def _statistics() -> list[Expected]:
    again = "the manifest is incomplete: run ingest again"
    return [
        Expected(f"{name} is known for each image", "ExpectColumnValuesToNotBeNull", {"column": name}, again)
        for name in STATISTICS
    ]


def _oddities(settings: Validate) -> list[Expected]:
    low, high = settings.brightness
    contrast = settings.contrast_low
    return [
        _between("brightness", low, high, f"no image is oddly dark or bright (mean grey {low:g} to {high:g})"),
        _between("contrast", contrast, None, f"no image is constant (contrast of at least {contrast:g})"),
    ]


def _repeats(task: Task, settings: Validate) -> list[Expected]:
    most = settings.repeats_high
    contracts = [
        _between("repeats", 1, most, f"occurrences of an image content: at most {most}"),
        _between("targets", 1, 1, "no image content occurs under several targets"),
    ]
    if task.dense:
        contracts += [
            _among("mask_constant", [False], "no mask is of one class only"),
            _between("mask_repeats", 1, most, f"occurrences of a mask: at most {most}"),
        ]
    return contracts


def _count_repeats(task: Task, manifest: pd.DataFrame) -> pd.DataFrame:
    """Add to each row how often its image content occurs, under how many targets, in how many given splits, and how
    often its mask occurs."""
    contents = manifest.groupby("content_hash")
    target = "mask_hash" if task.dense else "label"
    columns: dict[str, Any] = {
        "row": range(len(manifest)),
        "repeats": contents["id"].transform("size"),
        "targets": contents[target].transform("nunique"),
    }
    if _SPLIT in manifest:
        columns["splits"] = contents[_SPLIT].transform("nunique")
    if task.dense:
        columns["mask_repeats"] = manifest.groupby("mask_hash")["id"].transform("size")
    return manifest.assign(**columns)


def _classes(task: Task, manifest: pd.DataFrame, settings: Validate) -> Table:
    """One row per scored class: in how many images it occurs, and its share of all images or pixels."""
    counts = task.class_counts(manifest)
    scored = list(task.scored_classes)
    rows = pd.DataFrame({
        "class": [task.classes[k] for k in scored],
        "images": (counts[:, scored] > 0).sum(axis=0),
        "share": (counts[:, scored].sum(axis=0) / max(counts.sum(), 1)).round(6),
    })  # fmt: skip
    low, high = settings.class_share.low, settings.class_share.high
    contracts = [
        _between(
            "images", 1, None, "each class is present",
            f"add images of the class, or remove it from tasks.{task.name}.classes",
        ),
        _between("share", low, high, f"each class has a share of {low:g} to {high:g}"),
    ]  # fmt: skip
    return Table("classes", "class", rows, contracts)


def _among(column: str, values: Iterable[Any], sentence: str, advice: str | None = None) -> Expected:
    arguments = {"column": column, "value_set": list(values)}
    return Expected(sentence, "ExpectColumnValuesToBeInSet", arguments, advice)


def _between(column: str, low: float, high: float | None, sentence: str, advice: str | None = None) -> Expected:
    arguments = {"column": column, "min_value": low, "max_value": high}
    return Expected(sentence, "ExpectColumnValuesToBeBetween", arguments, advice)


def _unique(column: str, sentence: str, advice: str) -> Expected:
    return Expected(sentence, "ExpectColumnValuesToBeUnique", {"column": column}, advice)


def _equal(column: str, other: str, sentence: str, advice: str) -> Expected:
    arguments = {"column_A": column, "column_B": other}
    return Expected(sentence, "ExpectColumnPairValuesToBeEqual", arguments, advice)
