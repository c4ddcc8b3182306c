"""Jinja templates → text; the only importer of Jinja."""

from pathlib import Path
from typing import Any

import jinja2

from terracyte.rendering import formats


def render(template: Path, **values: Any) -> str:
    """Fill a template; equal values give equal text.

    A `.html.j2` escapes what it is given, any other template does not. It may use `formats`, and include the files
    beside it and `page.css`. A value that it names and is not given raises `jinja2.UndefinedError`.

    Args:
        template: the file.
        values: what it shows, by name.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False}  # else YAML gets halves of an emoji
    environment.globals.update(formats=formats)
    return environment.get_template(template.name).render(values)
