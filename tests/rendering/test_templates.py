"""Templates: HTML is escaped, Markdown is not, and a missing value is an error."""

from pathlib import Path

import jinja2
import pytest

from terracyte.rendering import templates


@pytest.mark.parametrize(("name", "shown"), [("page.html.j2", "&lt;b&gt; 50.0"), ("card.md.j2", "<b> 50.0")])
def test_html_is_escaped_and_markdown_is_not(tmp_path: Path, name: str, shown: str) -> None:
    (tmp_path / name).write_text("{{ text }} {{ formats.percent(0.5) }}", encoding="utf-8")
    assert templates.render(tmp_path / name, text="<b>") == shown


def test_a_missing_value_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "page.html.j2").write_text("{{ text }}", encoding="utf-8")
    with pytest.raises(jinja2.UndefinedError, match="'text' is undefined"):
        templates.render(tmp_path / "page.html.j2")


def test_pages_share_their_look(tmp_path: Path) -> None:
    (tmp_path / "page.html.j2").write_text('{% include "page.css" %}', encoding="utf-8")
    assert templates.render(tmp_path / "page.html.j2").startswith(":root {")
