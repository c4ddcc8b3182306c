"""Columns of a CSV file about pictures (`file,<column>`): the pictures' classes, given splits, or groups."""

import collections
import csv
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TextIO

from tqdm import tqdm

from terracyte.core import opening
from terracyte.core.errors import InputError
from terracyte.core.splits import SPLITS, split_of
from terracyte.tasks.task import Task

GROUPS_FILE = "groups.csv"
SPLITS_FILE = "splits.csv"


def declared_groups(root: Path, sheet: str | None, column: str | None, names: Sequence[str]) -> list[str]:
    """Look up each image's group; an empty cell means a group of its own, and stderr tells how many there are.

    Args:
        root: the folder of the CSV file, to which `file` is relative.
        sheet: the CSV file with the labels; without one, `GROUPS_FILE` is read.
        column: the column with the groups; None if there is none.
        names: the images' paths relative to the same folder.

    Raises:
        InputError: the file, the column or an image's row is missing, or an image has two groups.
    """
    if column is None:
        return [""] * len(names)
    path = root / (sheet or GROUPS_FILE)
    rows = _cells_of(path, column, names)
    note_empty(f"{path}: '{column}'", rows)
    return rows


def note_empty(where: str, groups: Sequence[str]) -> None:
    """Say on stderr how many images declare no group; `where` names the declarations."""
    if empty := groups.count(""):
        print(
            f"note: {where} is empty for {empty} of {len(groups)} images: each of these is its own group",
            file=sys.stderr,
        )


def note_splits(task: Task, where: str, splits: Sequence[str]) -> None:
    """Say on stderr which split the source gives, if it gives one."""
    counts = collections.Counter(splits)
    if any(splits):
        given = ", ".join(f"{name} {counts[name]}" for name in SPLITS if counts[name])
        tqdm.write(
            f"note: {where} already has a split ({given}), which `balance` keeps; to make a new one, set "
            f"'balance.{task.name}.split: own' in params.yaml",
            file=sys.stderr,
        )


def declared_splits(root: Path, sheet: str | None, column: str | None, names: Sequence[str]) -> list[str]:
    """Look up the split that each image is given; "" for all images without a column.

    Args:
        root: the folder of the CSV file, to which `file` is relative.
        sheet: the CSV file with the labels; without one, `SPLITS_FILE` is read.
        column: the column with the splits, by any name in `terracyte.core.splits`; None if there is none.
        names: the images' paths relative to the same folder.

    Raises:
        InputError: the file, the column or an image's row is missing, or a cell names no split.
    """
    if column is None:
        return [""] * len(names)
    path = root / (sheet or SPLITS_FILE)
    cells = _cells_of(path, column, names)
    splits = [split_of(cell) for cell in cells]
    if None in splits:
        first = splits.index(None)
        raise InputError(
            f"{path}: '{names[first]}' has the {column} '{cells[first]}'; it must be one of {', '.join(SPLITS)}"
        )
    return [split for split in splits if split is not None]


def read(path: Path, column: str) -> dict[str, str]:
    """Return the cells of `column` by those of `file`, both stripped and in Unicode's composed form.

    Raises:
        InputError: the CSV file is missing or invalid, a column is missing or occurs twice, a row names no file or one
            outside the folder, or two rows of one file differ.
    """
    try:
        with _opened(path) as stream:
            reader = csv.DictReader(stream)
            reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
            absent = sorted({"file", column} - set(reader.fieldnames))
            twice = [name for name in ("file", column) if reader.fieldnames.count(name) > 1]
            if twice:
                raise InputError(f"{path} has the column '{twice[0]}' twice: rename one of them")
            if absent:
                found = ", ".join(reader.fieldnames) or "none"
                raise InputError(f"{path} lacks the column '{absent[0]}'; it has {found}: rename one, or add it")
            return _cells(path, column, reader)
    except FileNotFoundError as error:
        raise InputError(
            f"{path} is missing; create it, or remove the setting in experiment.yaml that needs it"
        ) from error
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path} is not a CSV file in UTF-8: {error}") from error


def header(path: Path) -> list[str]:
    """Return the names of the columns; empty if the file cannot be read, which `read` reports."""
    try:
        with _opened(path) as stream:
            return [name.strip() for name in next(csv.reader(stream), [])]
    except (OSError, ValueError, csv.Error):
        return []


def normal(name: str) -> str:
    """Return the name in Unicode's composed form: file systems differ in how they write an accent."""
    return unicodedata.normalize("NFC", name)


def named(root: Path, name: str) -> Path:
    """Return the file of a name in composed form, or in the decomposed form of Macs if only that file exists."""
    composed, decomposed = root / name, unicodedata.normalize("NFD", name)
    if decomposed == name or composed.exists() or not (other := root / decomposed).exists():
        return composed
    return other


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    opening.require_file(path)
    with path.open(encoding="utf-8-sig", newline="") as stream:
        yield stream


def _cells_of(path: Path, column: str, names: Sequence[str]) -> list[str]:
    cells = read(path, column)
    found = [cells.get(normal(name)) for name in names]
    missing = [name for name, cell in zip(names, found, strict=True) if cell is None]
    if missing:
        raise InputError(f"{path} has no row for {len(missing)} of {len(names)} images, first '{missing[0]}'; add them")
    return [cell or "" for cell in found]


def _cells(path: Path, column: str, reader: "csv.DictReader[str]") -> dict[str, str]:
    cells: dict[str, str] = {}
    lines: dict[str, int] = {}
    for row in reader:
        if None in row:
            raise InputError(
                f"{path}: line {reader.line_num} has more cells than the header; a cell with a comma needs quotes"
            )
        file, cell = (normal((row[key] or "").strip()) for key in ("file", column))
        if not file:
            raise InputError(f"{path}: line {reader.line_num} names no file; fill it in or remove the line")
        if file.startswith("/") or ".." in file.split("/"):
            raise InputError(
                f"{path}: line {reader.line_num} names '{file}', which may be outside {path.parent}: put the file into "
                "that folder, and give its path relative to it"
            )
        file = PurePosixPath(file).as_posix()  # without `./`
        if cells.setdefault(file, cell) != cell:
            raise InputError(
                f"{path}: '{file}' has the {column} '{cells[file]}' in line {lines[file]} and '{cell}' in line "
                f"{reader.line_num}; keep the right one"
            )
        lines.setdefault(file, reader.line_num)
    return cells
