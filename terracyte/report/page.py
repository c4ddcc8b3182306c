"""The HTML page: one file with everything in it, the same bytes for the same results."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
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
from terracyte.rendering.pictures import PALETTE, Picture
from terracyte.report import champions, examples, figures, search_charts, search_text, tables
from terracyte.report.examples import Example, Sheet
from terracyte.report.records import Record, best
from terracyte.tasks.task import Task

_SPLITS = {"splits": dict.fromkeys(("train", "validation", "test"), dict), "class_weights": [NUMBER]}  # `balance.json`
_HEADING_SHIFT = 3  # levels: a card's first heading is an h4 of the page


@dataclasses.dataclass(frozen=True)
class Bar:
    """A variant's headline as a bar, all numbers in per cent of its track."""

    title: str
    value: float
    low: float
    high: float
    published: float | None


@dataclasses.dataclass(frozen=True)
class Confusion:
    """A confusion matrix over the scored classes, all seeds added up.

    Attributes:
        variant: whose predictions.
        rows: per true class its name, its count, and of each predicted class (share of the row, count).
    """

    variant: str
    rows: tuple[tuple[str, int, tuple[tuple[float, int], ...]], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Section:
    """All that the page says of a task.

    Attributes:
        task: which.
        best: see `records.best`; its first seed made the shown predictions.
        bars: the headlines.
        results, further: the ablation tables, see `terracyte.report.tables`.
        marks: what marked rows are.
        note: what the tables' columns mean.
        fallen_back: variants without the pretrained weights that they should have.
        corruption_chart: the headline by corruption; None for tasks without corruptions.
        headline_curves, loss_curves: the trainings.
        confusions: of every variant.
        samples, hardest: predictions.
        validation: summaries of the expectations, before and after cleaning.
        cleaning: its summary.
        sheets: the removed images.
        cleaned: images before cleaning, and kept.
        splits: images, groups and class counts by split, see `balance.json`.
        promotion: the latest decision about the champion, see `promote.decision.promote`.
        card: the champion's model card, as HTML; "" where there is no champion.
        tuning, tuning_charts: the search, in words and pictures.
        source: where the images come from.
    """

    task: Task
    best: Record
    bars: Sequence[Bar]
    results: pd.DataFrame
    further: Mapping[str, pd.DataFrame]
    marks: Sequence[str]
    note: str
    fallen_back: Sequence[str]
    corruption_chart: Picture | None
    headline_curves: Picture
    loss_curves: Sequence[Picture]
    confusions: Sequence[Confusion]
    samples: Sequence[Example]
    hardest: Sequence[Example]
    validation: Sequence[dict[str, Any]]
    cleaning: dict[str, Any]
    sheets: Sequence[Sheet]
    cleaned: tuple[int, int]
    splits: dict[str, Any]
    promotion: dict[str, Any]
    card: str
    tuning: str
    tuning_charts: Sequence[Picture]
    source: str

    @property
    def legend(self) -> list[tuple[str, str]]:
        """Class names and their colours in masks."""
        return list(zip(self.task.classes, itertools.cycle(PALETTE), strict=False)) if self.task.dense else []


def section(task: Task, records: list[Record], table: pd.DataFrame, settings: Params) -> Section:
    """Gather what the page says of a task.

    Args:
        task: which.
        records: its variants.
        table: the ablation table, see `ablation.ablation`.
        settings: how much to show.
    """
    shown, rows = best(task, records), predictions.test_rows(task.name)
    kept = predictions.stored(task.name, shown.name, shown.seeds[0], rows)
    cleaned = files.read_table(paths.clean_manifest(task.name))
    tuning = files.read_json(paths.tuning(task.name), search_text.FORM)
    return Section(
        task=task,
        best=shown,
        bars=_bars(task, table),
        results=tables.results(task, table),
        further=tables.further(task, table),
        marks=tables.marks(table),
        note=tables.note(table, settings.evaluate),
        fallen_back=tables.fallen_back(table),
        corruption_chart=figures.corruptions(task, records) if task.corruptions else None,
        headline_curves=figures.headline_curves(records, f"val_{task.selection}"),
        loss_curves=[figures.loss_curves(record) for record in records],
        confusions=[_confusion(task, record) for record in records],
        samples=examples.samples(task, rows, kept, settings.report.examples),
        hardest=examples.hardest(task, rows, kept, settings.report.hardest),
        validation=[
            files.read_json(path(task.name), {"suite": str, "rows": int, "expectations": [dict]})
            for path in (paths.validation, paths.validation_cleaned)
        ],
        cleaning=files.read_json(paths.cleaning(task.name)),
        sheets=examples.sheets(task, cleaned, settings.report.contact_sheet),
        cleaned=(len(cleaned), int(cleaned["keep"].sum())),
        splits=files.read_json(paths.balance(task.name), _SPLITS),
        promotion=champions.outcome(task),
        card=_html(champions.card(task)),
        tuning=search_text.note(task.name, tuning).replace("`", ""),
        tuning_charts=search_charts.charts(tuning) if tuning["trials"] else [],
        source=settings.experiment.sources[task.name].source,
    )


def render(section: Section) -> str:
    """The page as HTML; without clock, network and absolute paths."""
    return templates.render(Path(__file__).with_name("page.html.j2"), section=section)


def _html(markdown: str) -> str:
    """Markdown as HTML below the page's headings; HTML within it is shown, not used."""
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = reader.parse(markdown)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{int(token.tag[1:]) + _HEADING_SHIFT}"
    html = str(reader.renderer.render(tokens, reader.options, {}))
    return html.replace("<table>", '<div class="scroll" tabindex="0"><table>').replace("</table>", "</table></div>")


def _bars(task: Task, table: pd.DataFrame) -> list[Bar]:
    numbers = table[[*(f"{task.headline}{end}" for end in ("", "_low", "_high")), "published"]] * 100
    return [
        Bar(title, value, low, high, None if np.isnan(published) else published)
        for title, (value, low, high, published) in zip(tables.titles(table), numbers.to_numpy(), strict=True)
    ]


def _confusion(task: Task, record: Record) -> Confusion:
    scored = np.array(task.scored_classes)
    matrix = record.confusions.sum(axis=(0, 1))[np.ix_(scored, scored)]
    rows = []
    for k, row in zip(scored, matrix, strict=True):
        total = int(row.sum())
        rows.append((task.classes[k], total, tuple((count / max(total, 1), int(count)) for count in row)))
    return Confusion(record.name, tuple(rows))
