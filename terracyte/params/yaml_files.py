"""YAML files → plain values, with one line about what is wrong in them."""

from pathlib import Path
from typing import Any

from terracyte.core.errors import InputError


def read_yaml(path: Path) -> Any:
    """Read a YAML file: one of the experiment's, or a source's recipe.

    Raises:
        InputError: the file is missing or no YAML.
    """
    try:
        return parse_yaml(path.read_text(encoding="utf-8"), path)
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing: run in an experiment's folder, where dvc.yaml lies") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not valid YAML: it is not UTF-8 text") from error


def parse_yaml(text: str, path: Path) -> Any:
    """Parse YAML that stands in the file `path`.

    Raises:
        InputError: it is no YAML.
    """
    # Imported here: `--help` and tests of pure code need no YAML.
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        from terracyte.core import files

        if files.has_conflict(text):
            raise InputError(f"{path}: git left a merge conflict in it: choose between its two sides") from error
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        raise InputError(f"{path}{where}: not valid YAML: {getattr(error, 'problem', None) or error}") from error
