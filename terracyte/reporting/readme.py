"""The generated block of the README."""

from collections.abc import Mapping
from pathlib import Path

from terracyte.errors import InputError

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"


def with_results(readme: Path, tables: Mapping[str, str]) -> str:
    """The README's text with its block replaced; replacing twice changes nothing.

    Args:
        readme: the file to read.
        tables: Markdown by task.

    Raises:
        InputError: the file is missing, or doesn't hold both markers once and in order.
    """
    text = readme.read_text(encoding="utf-8") if readme.exists() else ""
    if [text.count(BEGIN), text.count(END)] != [1, 1] or text.index(BEGIN) > text.index(END):
        raise InputError(f"{readme}: the lines {BEGIN} and {END} must stand in it once, in this order; add them")
    before, after = text[: text.index(BEGIN)], text[text.index(END) + len(END) :]
    block = "\n".join(f"### {task.capitalize()}\n\n{table}" for task, table in tables.items())
    return f"{before}{BEGIN}\n{block}{END}{after}"
