"""The form (types and keys) that the content of a JSON file must have, as far as its reader relies on it."""

from collections.abc import Mapping
from typing import Any

NUMBER = (int, float)

Form = Any
"""What a JSON value must look like: a type or a tuple of types; `{"a": form}`, an object with at least these names;
`{str: form}`, an object with any names; `[form]`, a list of any length; `[form, form]`, a list of this length."""


def check(value: object, form: Form, place: str = "") -> None:
    """Check that a value has the form.

    Raises:
        ValueError: it has another form; the message names the place and the value there.
    """
    if isinstance(form, Mapping):
        _check_object(value, form, place)
    elif isinstance(form, list):
        if not isinstance(value, list) or len(form) not in (1, len(value)):
            length = f" of {len(form)}" if len(form) > 1 else ""
            raise ValueError(f"{_named(place)} is {value!r}, not a list{length}")
        for number, each in enumerate(value):
            check(each, form[number if len(form) > 1 else 0], f"{place}[{number}]")
    elif not isinstance(value, form) or (isinstance(value, bool) and form == NUMBER):
        names = [each.__name__ for each in (form if isinstance(form, tuple) else (form,))]
        raise ValueError(f"{_named(place)} is {value!r}, not {' or '.join(names)}")


def _check_object(value: object, form: Mapping[Any, Form], place: str) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"{_named(place)} is {value!r}, not a JSON object")
    inner = dict.fromkeys(value, form[str]) if str in form else form
    for name, each in inner.items():
        where = f"{place}.{name}" if place else name
        if name not in value:
            raise ValueError(f"it lacks '{where}'")
        check(value[name], each, where)


def _named(place: str) -> str:
    return f"'{place}'" if place else "it"
