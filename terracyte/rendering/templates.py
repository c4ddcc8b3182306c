"""Renders Jinja templates to text; the only module that imports Jinja."""

from pathlib import Path
from typing import Any

import jinja2

from terracyte.rendering import formats


def render(template: Path, **values: Any) -> str:
    """Render a template; the same values give the same text.

    Templates named `.html.j2` escape their values, others do not. A template may use the module `formats`, and include
    files beside it and `page.css`. A value that it uses but is not given raises `jinja2.UndefinedError`.

    Args:
        template: the template's file.
        values: the template's variables, by name.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False}  # otherwise YAML gets emoji as surrogate pairs
    environment.globals.update(formats=formats)
    return environment.get_template(template.name).render(values)
