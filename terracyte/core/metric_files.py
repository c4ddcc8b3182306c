"""Metric files of a training or an evaluation: what `dvc metrics` compares, and everything that was measured.

DVC shows every number of a metric file and passes over lists. So the few figures that tell variants apart stand at the
top; all of them stand in a list of one.
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
        path: of `paths.training` or `paths.scores`.
        headline: scores by name, which `dvc metrics show` and `dvc exp show` list; what is no number is left out.
        details: what `read` returns.
    """
    shown = {name: value for name, value in headline.items() if isinstance(value, int | float)}
    files.write_json(path, {**shown, _DETAILS: [details]})


def read(path: Path, form: forms.Form = object) -> dict[str, Any]:
    """The details of a metric file.

    Args:
        path: of the file.
        form: that they must have, see `forms`.

    Raises:
        InputError: it has none, or they have another form.
    """
    found = details(files.read_json(path), str(path))
    try:
        forms.check(found, form)
    except ValueError as error:
        raise InputError(f"{path}: in '{_DETAILS}', {error}: make it again with `dvc repro`") from error
    return found


def details(content: Any, name: str) -> dict[str, Any]:
    """The details of a metric file that was read elsewhere, as from another commit.

    Args:
        content: what the JSON holds.
        name: of the file, for the error.

    Raises:
        InputError: there are none.
    """
    held = content.get(_DETAILS) if isinstance(content, dict) else None
    if not (isinstance(held, list) and len(held) == 1 and isinstance(held[0], dict)):
        raise InputError(f"{name} has no list '{_DETAILS}' of one entry: it is from another version; make it again")
    found: dict[str, Any] = held[0]
    return found
