"""Charts of the page: how the variants were trained, and how robust they are to corruptions."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from terracyte.rendering import charts, formats
from terracyte.rendering.pictures import Picture
from terracyte.report.records import Record
from terracyte.tasks.task import Task

if TYPE_CHECKING:
    from terracyte.rendering.charts import Axes


def headline_curves(records: Sequence[Record], column: str) -> Picture:
    """Draw a validation score by epoch: a line per variant and seed, in one style per variant."""

    def draw(axes: "Axes") -> None:
        charts.whole_numbers(axes, "epoch")
        for record, style in zip(records, charts.line_styles(), strict=False):
            for label, run in _runs(record, record.name):
                _line(axes, run, column, **style, label=label)
        axes.set_ylabel(formats.words(column))
        axes.set_ylim(bottom=0)
        charts.legend_below(axes)

    highest = ", ".join(f"{record.name} {formats.percent(record.curves[column].max())} %" for record in records)
    text = f"{formats.words(column)} by epoch; highest values: {highest}"
    return Picture(charts.chart(5.6, 2.6 + charts.legend_height(len(records)), draw), text)


def corruptions(task: Task, records: Sequence[Record]) -> Picture:
    """Draw the headline under each of the task's corruptions and without any: a line per variant, mean of its seeds."""
    names = ["none", *map(formats.words, task.corruptions)]
    means = [record.scores["mean"] for record in records]
    values = [[mean[task.headline], *(mean["shift"][name] for name in task.corruptions)] for mean in means]

    def draw(axes: "Axes") -> None:
        for record, shares, style in zip(records, values, charts.line_styles(), strict=False):
            percents = [100 * share for share in shares]
            axes.plot(percents, names, marker="o", markersize=3, linewidth=1.2, label=record.name, **style)
        axes.set_xlabel(f"{formats.words(task.headline)}, %")
        axes.set_xlim(0, 100)
        axes.invert_yaxis()
        charts.legend_below(axes)

    listed = "; ".join(
        f"{record.name} {formats.percent(min(shares))} to {formats.percent(max(shares))} %"
        for record, shares in zip(records, values, strict=True)
    )
    text = f"{formats.words(task.headline)} by corruption, worst to best: {listed}"
    height = 1.2 + 0.25 * len(names) + charts.legend_height(len(records))
    return Picture(charts.chart(5.6, height, draw), text)


def loss_curves(record: Record) -> Picture:
    """Draw training and validation loss of one variant by epoch; dots mark the epochs whose weights were kept."""

    def draw(axes: "Axes") -> None:
        charts.whole_numbers(axes, "epoch")
        for label, run in _runs(record, "training"):
            _line(axes, run, "loss", color=charts.COLOURS[1], linestyle="--", label=label)
        for label, run in _runs(record, "validation"):
            _line(axes, run, "val_loss", color=charts.COLOURS[0], label=label)
            kept = run[run["epoch"] == record.training[str(run["seed"].iloc[0])]["best_epoch"]]
            axes.plot(kept["epoch"], kept["val_loss"], "o", color=charts.COLOURS[0])
        axes.set_ylabel("loss")
        axes.legend()

    last = record.curves.iloc[-1]
    text = f"losses of {record.name} by epoch, at the end {last['loss']:.3f} and {last['val_loss']:.3f}"
    return Picture(charts.chart(3.4, 2.4, draw), text, record.name)


def _runs(record: Record, label: str) -> Iterator[tuple[str | None, pd.DataFrame]]:
    """Yield a label and the curves of each seed; only the first seed has the label, so that the legend has it once."""
    for number, (_, run) in enumerate(record.curves.groupby("seed")):
        yield (label if number == 0 else None), run


def _line(axes: "Axes", run: pd.DataFrame, column: str, **style: Any) -> None:
    # A run of a single epoch is a point, which no line would show.
    marker = "." if len(run) == 1 else ""
    axes.plot(run["epoch"], run[column], marker=marker, linewidth=1.6, **style)
