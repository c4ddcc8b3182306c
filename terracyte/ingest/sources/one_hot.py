"""Classes as columns of a CSV file: each row has a 1 in one of them and 0 in the others."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from terracyte.core.errors import InputError
from terracyte.ingest.sources.tree import shown

_VALUES = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}


def classes(path: Path, names: Sequence[str], rows: Iterable[tuple[int, Mapping[str, str | None]]]) -> list[str]:
    """Return the columns that stand for classes; empty where there are fewer than two, or columns of one name.

    Args:
        path: the CSV file, for messages.
        names: the columns that may stand for classes.
        rows: the number of each line and its cells by column; those without any of these cells are passed over.

    Raises:
        InputError: columns hold nothing but 0 and 1, but a row has several 1 in them, or none.
    """
    left = set(names)
    lines: dict[tuple[str, ...], int] = {}  # where each combination occurs first
    for line, row in rows:
        if not any((row[name] or "").strip() for name in names):
            continue
        values = {name: _value(row[name]) for name in names}
        left -= {name for name in left if values[name] is None}
        lines.setdefault(tuple(name for name in names if values[name]), line)
    found = [name for name in names if name in left]
    if len(found) < 2 or len(found) > len(left):
        return []
    for ones, line in lines.items():
        if (count := len(left.intersection(ones))) != 1:
            raise InputError(
                f"{path} lacks the column 'label', and its columns {shown(found)} hold 0 and 1, but line {line} has 1 "
                f"in {count or 'none'} of them, where an image has one class: add that column, or correct the line"
            )
    return found


def cell(row: Mapping[str, str | None], columns: Sequence[str]) -> str:
    """Return the cell of a single column, or the name of the one that holds a 1; "" if there is none."""
    if len(columns) == 1:
        return row[columns[0]] or ""
    return next((name for name in columns if _value(row[name])), "")


def _value(text: str | None) -> bool | None:
    """Return a cell's truth value; None if it holds something else."""
    return _VALUES.get((text or "").strip().casefold())
