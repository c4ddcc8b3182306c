"""Metric files of a training or an evaluation: what `dvc metrics` compares, and everything that was measured.

DVC shows every number of a metric file and ignores lists. So the few figures that distinguish variants are at the top
level, and everything that was measured is in a list with one entry.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from terracyte.core import files, forms
from terracyte.core.errors import InputError

_DETAILS = "details"


def write(path: Path, headline: Mapping[str, object], details: Mapping[str, Any]) -> None:
    """Write a metric file, atomically.

    Args:
        path: a path of `paths.training` or `paths.scores`.
        headline: scores by name, for `dvc metrics show` and `dvc exp show`; values that are no numbers are left out.
        details: everything that was measured, as `read` returns it.
    """
    shown = {name: value for name, value in headline.items() if isinstance(value, int | float)}
    files.write_json(path, {**shown, _DETAILS: [details]})


def read(path: Path, form: forms.Form = object) -> dict[str, Any]:
    """Return the details of a metric file.

    Args:
        path: the file's path.
        form: the form that the details must have, see `forms`.

    Raises:
        InputError: the file cannot be read, has no details, or has details of another form.
    """
    found = details(files.read_json(path), str(path))
    try:
        forms.check(found, form)
    except ValueError as error:
        raise InputError(f"{path}: in '{_DETAILS}', {error}: make it again with `dvc repro`") from error
    return found


def details(content: Any, name: str) -> dict[str, Any]:
    """Return the details of a metric file that was read elsewhere, for example from another commit.

    Args:
        content: the parsed JSON.
        name: the file's name, for the error message.

    Raises:
        InputError: the content has no details.
    """
    held = content.get(_DETAILS) if isinstance(content, dict) else None
    if not (isinstance(held, list) and len(held) == 1 and isinstance(held[0], dict)):
        raise InputError(f"{name}: '{_DETAILS}' is not a list of one entry: it is from another version; make it again")
    found: dict[str, Any] = held[0]
    return found
