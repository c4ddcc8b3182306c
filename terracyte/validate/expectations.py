"""Check the data contracts with Great Expectations; the only module that imports it."""

import functools
import html
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from terracyte.core import files, paths, quiet
from terracyte.core.errors import InputError
from terracyte.params import Validate
from terracyte.tasks.task import Task
from terracyte.validate import contracts
from terracyte.validate.contracts import Expected, Table

_EXAMPLES = 5  # per expectation, in the summary and in the Data Docs

# Great Expectations' own page loads styles and scripts from six other hosts; this one works offline.
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 1rem auto; padding: 0 1rem; color: #222 }}
h5 {{ font-size: 1rem; margin: 1.2rem 0 .3rem; color: #666 }}
table {{ border-collapse: collapse; width: 100% }} table table {{ width: auto; font-size: .9rem }}
th, td {{ border: 1px solid #ddd; padding: .3rem .6rem; text-align: left; vertical-align: top; word-break: break-word }}
td > div > table {{ margin-top: .5rem }} .text-danger {{ color: #b00020 }}
i::before {{ font-style: normal }} .fa-check-circle::before {{ content: "✓"; color: #0a7d33 }}
.fa-times::before {{ content: "✗" }} .fa-exclamation-triangle::before {{ content: "!" }}
</style></head><body><h1>{title}</h1>
{body}
</body></html>
"""


def validate_raw(task: Task, manifest: pd.DataFrame, settings: Validate) -> dict[str, Any]:
    """Check the raw form of a task: its `.npy` files and its manifest.

    Returns:
        A summary without times or paths: `suite`, `rows`, `success` (of all), and `expectations`, each with `table`,
        `name`, `severity` (fatal or recorded), `column`, `success`, `rows`, `unexpected_count`,
        `unexpected_percent` and the first `examples` (`row`: name of the image, file or class; `value`).

    Raises:
        InputError: a fatal expectation does not hold; the Data Docs page is written first.
    """
    return _validate(task.name, "raw", len(manifest), contracts.raw_tables(task, manifest, settings))


def validate_cleaned(task: Task, cleaned: pd.DataFrame, reasons: Sequence[str], settings: Validate) -> dict[str, Any]:
    """Check a cleaned manifest; return and raise as `validate_raw` does.

    Args:
        task: the task that the images belong to.
        cleaned: the raw manifest with `keep` and `reason`.
        reasons: all reasons for which an image may be dropped.
        settings: the bounds of the expectations whose failures are only recorded.
    """
    tables = contracts.cleaned_tables(task, cleaned, reasons, settings)
    return _validate(task.name, "cleaned", len(cleaned), tables)


def page(task: str, suite: str) -> Path:
    """The Data Docs page of a suite (`raw` or `cleaned`)."""
    return paths.data_docs(task) / f"{suite}.html"


def describe(summary: Mapping[str, Any]) -> str:
    """The summary as text: one line per expectation, with its count and first example where it does not hold."""
    lines = []
    for outcome in summary["expectations"]:
        mark, failure = ("✓", "") if outcome["success"] else ("✗", f": {_failure(outcome)}")
        lines.append(f"{mark} {outcome['severity']:8}  {outcome['table']}: {outcome['name']}{failure}")
    return "\n".join(lines)


def _failure(outcome: Mapping[str, Any]) -> str:
    first = outcome["examples"][0]
    count = f"{outcome['unexpected_count']} of {outcome['rows']}"
    return f"does not hold for {count}, first {first['value']!r} in {first['row']!r}"


def _validate(task: str, suite: str, rows: int, tables: Iterable[Table]) -> dict[str, Any]:
    context = _context()
    outcomes: list[dict[str, Any]] = []
    sections: list[str] = []
    refusal = None
    for table in tables:
        result = _run(context, table)
        # by name: Great Expectations returns results in an order of its own
        found = {each.expectation_config.description: each.to_json_dict() for each in result.results}
        judged = [_outcome(table, contract, found[contract.sentence]) for contract in table.contracts]
        outcomes += judged
        sections += [f"<h2>{html.escape(table.name)}</h2>", *_render(result)]
        refusal = _refusal(table, judged)
        if refusal:
            break
    files.write_text(page(task, suite), _PAGE.format(title=f"{task}: {suite} data", body="\n".join(sections)))
    if refusal:
        raise InputError(f"{task}, {suite} {refusal}; see {page(task, suite)}")
    success = all(outcome["success"] for outcome in outcomes)
    return {"suite": suite, "rows": rows, "success": success, "expectations": outcomes}


def _refusal(table: Table, outcomes: Iterable[Mapping[str, Any]]) -> str | None:
    """The first fatal failure in words, or None."""
    for contract, outcome in zip(table.contracts, outcomes, strict=True):
        if contract.advice is not None and not outcome["success"]:
            return f"{table.name}: '{contract.sentence}' {_failure(outcome)}: {contract.advice}"
    return None


def _context() -> Any:
    # half of the import time, for what is not used: plots of one expectation, tests of distributions, databases
    with quiet.importing_less(absent=["sqlalchemy"], empty=["altair", "scipy.stats"]):
        import great_expectations as gx
        from great_expectations.data_context.types.base import ProgressBarsConfig
        from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer  # noqa: F401

    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    context = gx.get_context(mode="ephemeral")
    context.enable_analytics(False)
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context


def _run(context: Any, table: Table) -> Any:
    """Return Great Expectations' result for a table."""
    import great_expectations as gx

    source = context.data_sources.add_pandas(table.name)
    batch = source.add_dataframe_asset(table.name).add_batch_definition_whole_dataframe(table.name)
    suite = context.suites.add(gx.ExpectationSuite(name=table.name))
    for contract in table.contracts:
        kind = getattr(gx.expectations, contract.kind)
        suite.add_expectation(kind(**contract.arguments, description=contract.sentence))
    definition = gx.ValidationDefinition(name=table.name, data=batch, suite=suite)
    return context.validation_definitions.add(definition).run(
        batch_parameters={"dataframe": table.rows},
        result_format={
            "result_format": "SUMMARY",
            "partial_unexpected_count": _EXAMPLES,
            "unexpected_index_column_names": [table.key],
        },
    )


def _outcome(table: Table, contract: Expected, found: Mapping[str, Any]) -> dict[str, Any]:
    result, rows = found["result"], len(table.rows)
    count = int(result["unexpected_count"])
    return {
        "table": table.name,
        "name": contract.sentence,
        "severity": contract.severity,
        "column": ", ".join(contract.columns),
        "success": found["success"],
        "rows": rows,
        "unexpected_count": count,
        "unexpected_percent": round(100 * count / max(rows, 1), 6),
        "examples": [
            {"row": row[table.key], "value": _value([row[column] for column in contract.columns])}
            for row in result["partial_unexpected_index_list"][:_EXAMPLES]
        ],
    }


def _value(values: list[Any]) -> Any:
    """Return the value of one column, or the list of the values of several, in types that JSON can hold."""
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    return plain[0] if len(plain) == 1 else plain


def _render(result: Any) -> list[str]:
    """Return Great Expectations' own HTML of a result, one string per section, without the frame of its pages."""
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer

    # file names may hold HTML, and Great Expectations does not escape values
    for each in result.results:
        each.result = _escaped(each.result)
    document = ValidationResultsPageRenderer().render(result)
    _, *sections = document.sections  # the first section repeats times and counts
    return [
        _section_view().render({"section": section.to_json_dict(), "section_loop": {"index": number}})
        for number, section in enumerate(sections)
    ]


@functools.cache
def _section_view() -> Any:
    """Return Great Expectations' view, made once: each new view compiles its templates again, a fifth of the time."""
    from great_expectations.render.view.view import DefaultJinjaSectionView

    return DefaultJinjaSectionView()


def _escaped(value: Any) -> Any:
    """Return the same lists and mappings with every string escaped for HTML."""
    if isinstance(value, str):
        return html.escape(value)
    if isinstance(value, Mapping):
        return {name: _escaped(each) for name, each in value.items()}
    return [_escaped(each) for each in value] if isinstance(value, list) else value
