"""Groups that a folder declares: images of one patient or site, which must not straddle two splits."""

import csv
from collections.abc import Sequence
from pathlib import Path

from terracyte.core.errors import InputError

GROUPS_FILE = "groups.csv"


def declared_groups(root: Path, column: str, names: Sequence[str]) -> list[str]:
    """Look up each image's group in `groups.csv` (`file,<column>`, paths relative to `root`).

    Raises:
        InputError: the file, a column or an image's row is missing.
    """
    path = root / GROUPS_FILE
    groups = _read(path, column)
    missing = [name for name in names if name not in groups]
    if missing:
        raise InputError(f"{path} has no row for {len(missing)} of {len(names)} images, first '{missing[0]}'; add them")
    return [groups[name] for name in names]


def _read(path: Path, column: str) -> dict[str, str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            absent = {"file", column} - set(reader.fieldnames or ())
            if absent:
                raise InputError(
                    f"{path} lacks the column '{min(absent)}'; it has {', '.join(reader.fieldnames or ()) or 'none'}"
                )
            return {row["file"]: row[column] or "" for row in reader}
    except FileNotFoundError as error:
        raise InputError(
            f"{path} is missing, but 'group_column' is '{column}' in experiment.yaml; write it or set that to null"
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is no CSV file in UTF-8: {error}") from error
