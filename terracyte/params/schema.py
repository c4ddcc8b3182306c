"""Converts mappings to frozen dataclasses, refusing unknown, missing, mistyped or out-of-bounds values.

Constraints are declared as data beside the field (`number(low, high)`), not checked in scattered code.
"""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from terracyte.core.errors import InputError

Built = TypeVar("Built")
_LARGEST_FLOAT = 2**1023
_BOUNDS, _MEASURED = "bounds", "measured"


def number(low: float, high: float, default: Any = dataclasses.MISSING) -> Any:
    """Declare a dataclass field whose number (of a tuple or mapping, each element) must lie in [low, high]."""
    return dataclasses.field(default=default, metadata={_BOUNDS: (low, high)})


def measured(low: float | None = None, high: float | None = None) -> Any:
    """Declare an optional field, perhaps with bounds, that is None until `terracyte.measure.settings` fills it in."""
    bounds = None if low is None or high is None else (low, high)
    return dataclasses.field(default=None, metadata={_BOUNDS: bounds, _MEASURED: True})


def left_open(block: Any) -> list[str]:
    """Return the names of a dataclass's `measured` fields that are still None."""
    fields = dataclasses.fields(block)
    return [field.name for field in fields if _MEASURED in field.metadata and getattr(block, field.name) is None]


def build(kind: type[Built], value: object, where: str, file: str | None = None) -> Built:
    """Build an instance of `kind` from `value`, a mapping read from a file.

    Args:
        kind: the dataclass.
        value: values of its fields, by name.
        where: dotted path of `value` in the file; "" for the whole file.
        file: the file's name for error messages; None if the caller adds it (see `naming`).

    Raises:
        InputError: a key is unknown or missing, a value has the wrong type or lies outside its bounds;
            the message names the dotted path of the parameter.
    """
    with naming(file):
        mapping = _mapping(value, where)
        hints = typing.get_type_hints(kind)
        declared = {f.name: f for f in dataclasses.fields(typing.cast(Any, kind))}
        check_keys(mapping, declared, where)
        arguments = {}
        for name, field in declared.items():
            path = _join(where, name)
            if name in mapping:
                arguments[name] = _convert(hints[name], mapping[name], path)
                _check_bounds(arguments[name], field.metadata.get(_BOUNDS), path)
            elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                raise InputError(f"'{path}' is missing; add it")
        return kind(**arguments)


def check_keys(given: Iterable[object], allowed: Iterable[str], where: str, file: str | None = None) -> None:
    """Refuse keys of `given` that are not in `allowed`, naming the nearest allowed one."""
    with naming(file):
        allowed = list(allowed)
        for key in given:
            if key not in allowed:
                raise InputError(f"'{_join(where, str(key))}' is unknown; {_hint(key, allowed)}")


def check_value(value: str, allowed: Iterable[str], where: str) -> None:
    """Refuse a name that is not in `allowed`, naming the nearest allowed one."""
    allowed = list(allowed)
    if value not in allowed:
        raise InputError(f"'{where}' is {value!r}; {_hint(value, allowed)}")


@contextmanager
def naming(file: str | None) -> Iterator[None]:
    """Prefix the message of an InputError raised in the block with the file's name."""
    try:
        yield
    except InputError as error:
        if file is None:
            raise
        raise InputError(f"{file}: {error}") from error


def _hint(given: object, allowed: Sequence[str]) -> str:
    near = difflib.get_close_matches(str(given), allowed, n=1)
    return f"did you mean '{near[0]}'?" if near else f"allowed: {', '.join(allowed) or 'none'}"


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _mapping(value: object, where: str) -> Mapping[str, object]:
    if value is None and not where:
        raise InputError("the file is empty; it must be a mapping of names to values")
    if not isinstance(value, Mapping):
        raise _mistyped(where, value, "a mapping of names to values")
    return value


def _mistyped(path: str, value: object, expected: str) -> InputError:
    place = f"'{path}'" if path else "the file"
    return InputError(f"{place} is {value!r} ({type(value).__name__}); it must be {expected}")


def _convert(hint: Any, value: object, path: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return build(hint, value, path)
    if origin in (typing.Union, types.UnionType):
        return _convert_optional(arguments, value, path)
    if origin is typing.Literal:
        return _choose(arguments, value, path)
    if origin is tuple:
        return _convert_list(arguments, value, path)
    if origin in (dict, Mapping):
        mapping = _mapping(value, path)
        return {str(k): _convert(arguments[1], v, f"{path}.{k}") for k, v in mapping.items()}
    return _convert_scalar(hint, value, path)


def _convert_optional(arguments: tuple[Any, ...], value: object, path: str) -> Any:
    if value is None and type(None) in arguments:
        return None
    inner = [a for a in arguments if a is not type(None)]
    if len(inner) == 1:
        return _convert(inner[0], value, path)
    words = [word for each in inner if typing.get_origin(each) is typing.Literal for word in typing.get_args(each)]
    if words:
        (other,) = (each for each in inner if typing.get_origin(each) is not typing.Literal)
        if isinstance(value, str) and value not in words:
            raise _mistyped(path, value, f"{_NAMES[other]} or {' or '.join(words)}")
        return value if isinstance(value, str) else _convert(other, value, path)
    lists = [each for each in inner if typing.get_origin(each) is tuple]
    if lists and isinstance(value, (list, tuple)):
        nested = any(isinstance(element, (list, tuple)) for element in value)
        alike = [each for each in lists if (typing.get_origin(typing.get_args(each)[0]) is tuple) == nested]
        return _convert([*alike, *lists][0], value, path)
    if type(value) not in inner:
        names = [_NAMES[each] for each in inner if each not in lists] + ["a list"] * bool(lists)
        raise _mistyped(path, value, f"one of: {', '.join(names)}")
    return value


def _choose(allowed: tuple[Any, ...], value: object, path: str) -> Any:
    # in Python 1.0 and true equal 1, but they are not allowed in its place
    if not any(value == each and type(value) is type(each) for each in allowed):
        raise _mistyped(path, value, f"one of {', '.join(map(str, allowed))}")
    return value


def _convert_list(arguments: tuple[Any, ...], value: object, path: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise _mistyped(path, value, "a list")
    if arguments[-1] is not Ellipsis and len(value) != len(arguments):
        raise _mistyped(path, list(value), f"a list of {len(arguments)} values")
    inner = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
    return tuple(_convert(h, v, f"{path}[{i}]") for i, (h, v) in enumerate(zip(inner, value, strict=True)))


_NAMES = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def _convert_scalar(hint: Any, value: object, path: str) -> Any:
    if hint is object:
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST_FLOAT:
        return float(value)
    # bool is a subclass of int in Python, but `true` is not a number in a YAML file
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise _mistyped(path, value, _NAMES[hint])
    if isinstance(value, float) and not math.isfinite(value):
        raise _mistyped(path, value, "a finite number")
    return value


def _check_bounds(value: Any, bounds: tuple[float, float] | None, path: str) -> None:
    if bounds is None or value is None or isinstance(value, str):  # a word instead of a number, such as "auto"
        return
    low, high = bounds
    for element in value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else (value,):
        if not low <= element <= high:
            raise _mistyped(path, element, f"between {low:g} and {high:g}")
