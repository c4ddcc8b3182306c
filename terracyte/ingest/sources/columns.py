"""Columns of a CSV file about pictures (`file,<column>`): the pictures' classes, given splits, or groups.

Commas, semicolons or tabs part the cells, whichever part the name `file` from others in the header.
"""

import collections
import contextlib
import csv
import functools
import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from terracyte.core import opening
from terracyte.core.errors import InputError, tell
from terracyte.core.splits import SPLITS, split_of
from terracyte.ingest.sources import one_hot
from terracyte.ingest.sources.pictures import SUFFIXES
from terracyte.ingest.sources.tree import shown, walk
from terracyte.tasks.task import Task

GROUPS_FILE = "groups.csv"
SPLITS_FILE = "splits.csv"
# Names that mean the same in any case. Of those of a file, the first that occurs counts: a wrong one is noticed.
_FILES = ("file", "filename", "file_name", "filepath", "path", "image", "image_name", "image_id", "id")
_ALIKE = {"label": ("label", "class", "category", "target", "diagnosis", "dx"), "split": ("split",)}


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
    rows = _cells_of(path, root, column, names)
    note_empty(f"{path}: '{column}'", rows)
    return rows


def note_empty(where: str, groups: Sequence[str]) -> None:
    """Say on stderr how many images declare no group; `where` names the declarations."""
    if empty := groups.count(""):
        tell(f"note: {where} is empty for {empty} of {len(groups)} images: each of these is its own group")


def note_splits(task: Task, where: str, splits: Sequence[str]) -> None:
    """Say on stderr which split the source gives, if it gives one."""
    counts = collections.Counter(splits)
    if any(splits):
        given = ", ".join(f"{name} {counts[name]}" for name in SPLITS if counts[name])
        tell(
            f"note: {where} already has a split ({given}), which `balance` keeps; to make a new one, set "
            f"'balance.{task.name}.split: own' in params.yaml"
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
    cells = _cells_of(path, root, column, names)
    splits = [split_of(cell) for cell in cells]
    if None in splits:
        first = splits.index(None)
        raise InputError(
            f"{path}: '{names[first]}' has the {column} '{cells[first]}'; it must be one of {', '.join(SPLITS)}"
        )
    return [split for split in splits if split is not None]


def read(path: Path, root: Path, column: str) -> dict[str, str]:
    """Return the cells of `column` by those of `file`, both stripped and in Unicode's composed form.

    Where no file bears a row's name, backslashes count as slashes, and the name may lack the suffix of a picture. A
    name without a folder may be that of a file in any folder below `root`, if only one has it.

    Args:
        path: the CSV file.
        root: the folder to which `file` is relative.
        column: the column's name; for `label`, one-hot columns will do, too: then their names are the cells.

    Raises:
        InputError: the CSV file is missing or invalid, a column is missing or occurs twice, a row names no file, one
            outside the folder, or several files, or no or several classes, or two rows of one file differ.
    """
    try:
        with _opened(path) as (names, reader):
            files, found = _require(path, names, "file"), label_columns(path) if column == "label" else []
            chosen = found if len(found) > 1 else [_require(path, names, column)]
            return _cells(path, root, files, column, chosen, reader)
    except FileNotFoundError as error:
        raise InputError(
            f"{path} is missing; create it, or leave out what needs it: --groups, --split or the setting in "
            "experiment.yaml"
        ) from error
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path} is not a CSV file in UTF-8: {error}; save it as one") from error


def header(path: Path) -> list[str]:
    """Return the names of the columns; empty if the file cannot be read, which `read` reports."""
    try:
        with _opened(path) as (names, _):
            return names
    except (OSError, ValueError, csv.Error):
        return []


def label_columns(path: Path) -> list[str]:
    """Return the column of labels of a CSV file, or its one-hot columns; empty if it has neither.

    Raises:
        InputError: see `one_hot.classes`.
        ValueError, csv.Error: the file is not a CSV file in UTF-8.
    """
    with _opened(path) as (names, reader):
        if (label := find(names, "label")) is not None:
            return [label]
        file = find(names, "file")
        return one_hot.classes(
            path, [name for name in names if name != file], ((reader.line_num, row) for row in reader)
        )


def find(names: Sequence[str], wanted: str) -> str | None:
    """Return the column of that name, or else the one that means the same, as `filename` means `file`."""
    if wanted in names:
        return wanted
    if wanted == "file":
        places = {name.casefold(): name for name in names}
        return next((places[name] for name in _FILES if name in places), None)
    alike = [name for name in names if name.casefold() in _ALIKE.get(wanted, ())]
    return alike[0] if len(alike) == 1 else None


def normal(name: str) -> str:
    """Return the name in Unicode's composed form: file systems differ in how they write an accent."""
    return unicodedata.normalize("NFC", name)


def named(root: Path, name: str) -> Path:
    """Return the file of a name in composed form, or in the decomposed form of Macs if only that file exists."""
    composed, decomposed = root / name, unicodedata.normalize("NFD", name)
    if decomposed == name or composed.exists() or not (other := root / decomposed).exists():
        return composed
    return other


def _require(path: Path, names: list[str], wanted: str) -> str:
    name = find(names, wanted)
    if name is None:
        found = ", ".join(names) or "none"
        raise InputError(f"{path} lacks the column '{wanted}'; it has {found}: rename one, or add it")
    if names.count(name) > 1:
        raise InputError(f"{path} has the column '{name}' twice: rename one of them")
    return name


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[list[str], "csv.DictReader[str]"]]:
    """Yield the names of the columns and a reader of the rows."""
    opening.require_file(path)
    with path.open(encoding="utf-8-sig", newline="") as stream:
        for delimiter in ";\t,":
            stream.seek(0)
            reader = csv.DictReader(stream, delimiter=delimiter)
            reader.fieldnames = names = [name.strip() for name in reader.fieldnames or ()]
            if find(names, "file") is not None:
                break
        yield names, reader


def _cells_of(path: Path, root: Path, column: str, names: Sequence[str]) -> list[str]:
    cells = read(path, root, column)
    found = [cells.get(normal(name)) for name in names]
    missing = [name for name, cell in zip(names, found, strict=True) if cell is None]
    if missing:
        raise InputError(f"{path} has no row for {len(missing)} of {len(names)} images, first '{missing[0]}'; add them")
    return [cell or "" for cell in found]


def _cells(
    path: Path, root: Path, files: str, column: str, chosen: list[str], reader: "csv.DictReader[str]"
) -> dict[str, str]:
    """Return the cells that `read` returns, from the column `files` and those that are `chosen`."""
    cells: dict[str, str] = {}
    lines: dict[str, int] = {}
    existing = _Existing(root)
    for row in reader:
        line = f"{path}: line {reader.line_num}"
        if None in row:
            raise InputError(f"{line} has more cells than the header; a cell that holds the delimiter needs quotes")
        if not any((cell or "").strip() for cell in row.values()):  # a row that was cleared in a spreadsheet
            continue
        file, cell = (normal(text.strip()) for text in (row[files] or "", one_hot.cell(row, chosen)))
        if not file:
            raise InputError(f"{line} names no file; fill it in or remove the line")
        file = _meant(existing, file, line)
        if cells.setdefault(file, cell) != cell:
            raise InputError(
                f"{path}: '{file}' has the {column} '{cells[file]}' in line {lines[file]} and '{cell}' in line "
                f"{reader.line_num}; keep the right one"
            )
        lines.setdefault(file, reader.line_num)
    return cells


class _Existing:
    """The files below a folder by the names that rows may give them. Listing them is faster than looking for each."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._in_folder = functools.cache(self._list)

    def alike(self, name: str) -> list[str]:
        """Return the paths that a name may mean, relative to the folder."""
        folder, slash, last = PurePosixPath(name).as_posix().rpartition("/")  # without `./`
        return self._in_folder(folder + slash).get(last) or ([] if folder else self._anywhere.get(last, []))

    def _list(self, folder: str) -> dict[str, list[str]]:
        """List a folder; one that cannot be listed has no files."""
        with contextlib.suppress(OSError), os.scandir(self.root / folder) as entries:
            return _by_name(sorted(folder + normal(entry.name) for entry in entries if not entry.is_dir()))
        return {}

    @functools.cached_property
    def _anywhere(self) -> dict[str, list[str]]:
        return _by_name(normal(path.relative_to(self.root).as_posix()) for path in walk(self.root))


def _by_name(paths: Iterable[str]) -> dict[str, list[str]]:
    """Return paths by their last part, and those of pictures by that without the suffix, too."""
    whole, short = (collections.defaultdict[str, list[str]](list) for _ in range(2))
    for path in paths:
        name = path.rpartition("/")[2]
        whole[name].append(path)
        stem, _, suffix = name.rpartition(".")
        if f".{suffix.lower()}" in SUFFIXES and not stem.lower().endswith(SUFFIXES):
            short[stem].append(path)
    return short | whole


def _meant(existing: _Existing, name: str, line: str) -> str:
    """Return the path of the file that a row names, relative to the folder; `line` is the place of the row."""
    root = existing.root
    if "\\" in name and not (root / name).is_file():
        name = name.replace("\\", "/")
    if name.startswith("/") or ".." in name.split("/"):
        raise InputError(
            f"{line} names '{name}', which may be outside {root}: put the file into that folder, and give its path "
            "relative to it"
        )
    alike = existing.alike(name)
    if len(alike) > 1:
        raise InputError(f"{line} names '{name}', but there are {shown(alike)}: give one in full")
    return alike[0] if alike else PurePosixPath(name).as_posix()
