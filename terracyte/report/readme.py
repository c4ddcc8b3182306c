"""The generated blocks of the README."""

from collections.abc import Mapping
from pathlib import Path

from terracyte.core.errors import InputError


def with_block(readme: Path, block: str, tables: Mapping[str, str]) -> str:
    """The README's text with one block replaced; replacing twice changes nothing.

    Args:
        readme: the file to read.
        block: which, see `markers`.
        tables: Markdown by task.

    Raises:
        InputError: the file is missing, or doesn't hold both markers once and in order.
    """
    begin, end = markers(block)
    text = readme.read_text(encoding="utf-8") if readme.exists() else ""
    if [text.count(begin), text.count(end)] != [1, 1] or text.index(begin) > text.index(end):
        raise InputError(f"{readme}: the lines {begin} and {end} must stand in it once, in this order; add them")
    before, after = text[: text.index(begin)], text[text.index(end) + len(end) :]
    content = "\n".join(f"### {task.capitalize()}\n\n{table}" for task, table in tables.items())
    return f"{before}{begin}\n{content}{end}{after}"


def markers(block: str) -> tuple[str, str]:
    """The lines between which a block stands: `results` (of the present data) or `real` (of `docs/results`)."""
    return f"<!-- {block}:begin -->", f"<!-- {block}:end -->"
