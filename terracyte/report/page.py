"""The HTML page: one self-contained file, with the same bytes for the same results."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markdown_it import MarkdownIt

from terracyte.core import files, paths
from terracyte.core.forms import NUMBER
from terracyte.evaluate import predictions
from terracyte.params import Params
from terracyte.rendering import templates
from terracyte.rendering.pictures import PALETTE
from terracyte.report import champions, examples, figures, search_charts, search_text, tables
from terracyte.report.records import Record, best
from terracyte.tasks.task import Task

_SPLITS = {"splits": dict.fromkeys(("train", "validation", "test"), dict), "class_weights": [NUMBER]}  # `balance.json`
_HEADING_SHIFT = 3  # levels added to a model card's headings: its h1 becomes an h4 of the page


def render(task: Task, records: list[Record], table: pd.DataFrame, settings: Params) -> str:
    """Return the page as HTML; it has no timestamps or absolute paths, and loads nothing from a network.

    Args:
        task: the task to report on.
        records: the records of the task's rows.
        table: the ablation table, see `ablation.ablation`.
        settings: those of the report, of the intervals and of the data's source are used.
    """
    shown, rows = best(task, records), predictions.test_rows(task.name)
    kept = predictions.stored(task.name, shown.name, shown.seeds[0], rows)
    cleaned = files.read_table(paths.clean_manifest(task.name))
    tuning = files.read_json(paths.tuning(task.name), search_text.FORM)
    section = {
        "task": task,
        "best": shown,
        "bars": _bars(task, table),
        "results": tables.results(task, table),
        "further": tables.further(task, table),
        "marks": tables.marks(table),
        "note": tables.note(table, settings.evaluate),
        "fallen_back": tables.fallen_back(table),
        "corruption_chart": figures.corruptions(task, records) if task.corruptions else None,
        "headline_curves": figures.headline_curves(records, f"val_{task.selection}"),
        "loss_curves": [figures.loss_curves(record) for record in records],
        "confusions": [_confusion(task, record) for record in records],
        "samples": examples.samples(task, rows, kept, settings.report.examples),
        "hardest": examples.hardest(task, rows, kept, settings.report.hardest),
        "validation": [
            files.read_json(path(task.name), {"suite": str, "rows": int, "expectations": [dict]})
            for path in (paths.validation, paths.validation_cleaned)
        ],
        "cleaning": files.read_json(paths.cleaning(task.name)),
        "sheets": examples.sheets(task, cleaned, settings.report.contact_sheet),
        "cleaned": (len(cleaned), int(cleaned["keep"].sum())),
        "splits": files.read_json(paths.balance(task.name), _SPLITS),
        "promotion": champions.outcome(task),
        "card": _html(champions.card(task)),
        "tuning": search_text.note(task.name, tuning).replace("`", ""),
        "tuning_charts": search_charts.charts(tuning) if tuning["trials"] else [],
        "source": settings.experiment.sources[task.name].source,
        "legend": list(zip(task.classes, itertools.cycle(PALETTE), strict=False)) if task.dense else [],
    }
    return templates.render(Path(__file__).with_name("page.html.j2"), section=section)


def _html(markdown: str) -> str:
    """Convert Markdown to HTML with headings below those of the page; HTML within the Markdown is shown as text."""
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = reader.parse(markdown)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{int(token.tag[1:]) + _HEADING_SHIFT}"
    html = str(reader.renderer.render(tokens, reader.options, {}))
    return html.replace("<table>", '<div class="scroll" tabindex="0"><table>').replace("</table>", "</table></div>")


def _bars(task: Task, table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return one bar per variant for its headline; all numbers are in per cent, as is the bar's track."""
    numbers = table[[*(f"{task.headline}{end}" for end in ("", "_low", "_high")), "published"]] * 100
    return [
        {
            "title": title,
            "value": value,
            "low": low,
            "high": high,
            "published": None if np.isnan(published) else published,
        }
        for title, (value, low, high, published) in zip(tables.titles(table), numbers.to_numpy(), strict=True)
    ]


def _confusion(task: Task, record: Record) -> dict[str, Any]:
    """Return the confusion matrix of the scored classes, summed over the seeds: for each true class its name, its
    count, and for each predicted class (share of the row, count)."""
    scored = np.array(task.scored_classes)
    matrix = record.confusions.sum(axis=(0, 1))[np.ix_(scored, scored)]
    rows = []
    for k, row in zip(scored, matrix, strict=True):
        total = int(row.sum())
        rows.append((task.classes[k], total, tuple((count / max(total, 1), int(count)) for count in row)))
    return {"variant": record.name, "rows": rows}
