"""Reads YAML files into plain values; errors are one-line messages."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terracyte.core import opening
from terracyte.core.errors import InputError

if TYPE_CHECKING:
    from ruamel.yaml.nodes import Node

_LARGEST = 2**18  # bytes: such a file takes seconds to parse, and hand-written ones are far smaller
_MOST_NODES = 10**6  # with aliases counted as expanded, which may give billions
_LONGEST_NUMBER = 40  # digits
# What ruamel.yaml raises on values that do not fit their tag, such as a 13th month or `!!int x`.
_OF_VALUES = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)


def read_yaml(path: Path) -> Any:
    """Read a YAML file: one of the experiment's, or a source's recipe.

    Raises:
        InputError: the file is missing, too large or not YAML.
    """
    try:
        opening.require_file(path)
        if path.stat().st_size > _LARGEST:
            raise InputError(
                f"{path} has {path.stat().st_size} bytes; at most {_LARGEST} are read: is it the right one?"
            )
        return parse_yaml(path.read_text(encoding="utf-8"), path)
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing: run this in an experiment's folder, which has a dvc.yaml") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not valid YAML: it is not UTF-8 text") from error
    except ValueError as error:
        raise InputError(f"{path}: not valid YAML: {error}") from error


def parse_yaml(text: str, path: Path) -> Any:
    """Parse YAML text; `path` is the file it comes from, for messages.

    Raises:
        InputError: the text is not YAML, or its aliases expand to too many values.
    """
    # Imported here because `--help` and tests of pure code need no YAML.
    from ruamel.yaml import YAML
    from ruamel.yaml.error import ReusedAnchorWarning, YAMLError

    yaml = YAML(typ="safe", pure=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReusedAnchorWarning)  # YAML allows reuse
            node = yaml.compose(text)
        if node is None:
            return None
        _check(node, path)
        return yaml.constructor.construct_document(node)
    except YAMLError as error:
        from terracyte.core import files

        if files.has_conflict(text):
            raise InputError(f"{path} has an unresolved git merge conflict: keep one of its two sides") from error
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        raise InputError(f"{path}{where}: not valid YAML: {getattr(error, 'problem', None) or error}") from error
    except RecursionError as error:
        raise InputError(f"{path}: not valid YAML: it is nested too deeply") from error
    except AssertionError as error:  # ruamel.yaml asserts that it knows the version in a line such as `%YAML 1.7`
        raise InputError(f"{path}: not valid YAML: {error}") from error
    except _OF_VALUES as error:
        raise InputError(f"{path}: not valid YAML: a value does not fit its type: {error}") from error


def _check(root: "Node", path: Path) -> None:
    """Refuse, before values are constructed, aliases that expand to too many or contain themselves, and bad scalars."""
    sizes: dict[int, int] = {}
    waiting: list[tuple[Node, bool]] = [(root, False)]
    while waiting:
        node, counted = waiting.pop()
        if counted:
            sizes[id(node)] = 1 + sum(sizes[id(child)] for child in _children(node))
        elif id(node) not in sizes:
            sizes[id(node)] = _MOST_NODES  # until it is counted; only nodes within it can meet this value
            _check_text(node, path)
            waiting += [(node, True), *((child, False) for child in _children(node))]
        if sizes.get(id(node), 0) > _MOST_NODES:
            raise InputError(
                f"{path} line {node.start_mark.line + 1}: aliases (*name) contain themselves here, or expand to more "
                f"than {_MOST_NODES} values: write the values out"
            )


def _children(node: "Node") -> Iterator["Node"]:
    """Yield the nodes of a list, or the keys and values of a mapping."""
    for entry in node.value if isinstance(node.value, list) else ():
        yield from entry if isinstance(entry, tuple) else (entry,)


def _check_text(node: "Node", path: Path) -> None:
    if not isinstance(node.value, str):
        return
    where = f"{path} line {node.start_mark.line + 1}"
    if "\0" in node.value or any("\ud800" <= each <= "\udfff" for each in node.value):
        raise InputError(f"{where}: a text has an invalid character (NUL or half a surrogate pair): remove it")
    if str(node.tag).endswith(":int") and len(node.value) > _LONGEST_NUMBER:
        raise InputError(f"{where}: a number has {len(node.value)} digits; at most {_LONGEST_NUMBER} are read")
