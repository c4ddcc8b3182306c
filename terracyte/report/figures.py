"""Charts as SVG; the only importer of matplotlib."""

import base64
import io
import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from terracyte.rendering import formats
from terracyte.report.pictures import Picture
from terracyte.report.records import Record
from terracyte.tasks.task import Task

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours that stand out from a white and from a dark page.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
_DASHES = ("-", "--", ":", "-.")
_LEGEND_COLUMNS = 2

# Text and axes are drawn in a colour that nothing else has; it becomes the page's own, light or dark.
INK = "#010203"
_ADAPTIVE = (
    "<style>svg{color:#333}@media (prefers-color-scheme:dark){svg{color:#ccc}}"
    "text{font-family:system-ui,sans-serif!important}</style>"
)
_SETTINGS: Any = {
    "svg.hashsalt": "terracyte",  # ids would be random otherwise
    "svg.fonttype": "none",
    "font.size": 10,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}


def headline_curves(records: Sequence[Record], column: str) -> Picture:
    """A validation score by epoch: a line per variant and seed, those of a variant alike."""

    def draw(axes: "Axes") -> None:
        whole_numbers(axes, "epoch")
        for record, style in zip(records, _styles(), strict=False):
            for label, run in _labelled(record, record.name):
                _line(axes, run, column, **style, label=label)
        axes.set_ylabel(formats.words(column))
        axes.set_ylim(bottom=0)
        _legend_below(axes)

    highest = ", ".join(f"{record.name} {formats.percent(record.curves[column].max())} %" for record in records)
    text = f"{formats.words(column)} by epoch; highest values: {highest}"
    return Picture(drawn(5.6, 2.6 + _legend_height(records), draw), text)


def corruptions(task: Task, records: Sequence[Record]) -> Picture:
    """The headline under each of the task's corruptions and without any: a line per variant, mean of its seeds."""
    names = ["none", *map(formats.words, task.corruptions)]
    means = [record.scores["mean"] for record in records]
    values = [[mean[task.headline], *(mean["shift"][name] for name in task.corruptions)] for mean in means]

    def draw(axes: "Axes") -> None:
        for record, shares, style in zip(records, values, _styles(), strict=False):
            percents = [100 * share for share in shares]
            axes.plot(percents, names, marker="o", markersize=3, linewidth=1.2, label=record.name, **style)
        axes.set_xlabel(f"{formats.words(task.headline)}, %")
        axes.set_xlim(0, 100)
        axes.invert_yaxis()
        _legend_below(axes)

    listed = "; ".join(
        f"{record.name} {formats.percent(min(shares))} to {formats.percent(max(shares))} %"
        for record, shares in zip(records, values, strict=True)
    )
    text = f"{formats.words(task.headline)} by corruption, worst to best: {listed}"
    return Picture(drawn(5.6, 1.2 + 0.25 * len(names) + _legend_height(records), draw), text)


def loss_curves(record: Record) -> Picture:
    """Training and validation loss of one variant by epoch; dots mark the epochs whose weights were kept."""

    def draw(axes: "Axes") -> None:
        whole_numbers(axes, "epoch")
        for label, run in _labelled(record, "training"):
            _line(axes, run, "loss", color=COLOURS[1], linestyle="--", label=label)
        for label, run in _labelled(record, "validation"):
            _line(axes, run, "val_loss", color=COLOURS[0], label=label)
            kept = run[run["epoch"] == record.training[str(run["seed"].iloc[0])]["best_epoch"]]
            axes.plot(kept["epoch"], kept["val_loss"], "o", color=COLOURS[0])
        axes.set_ylabel("loss")
        axes.legend()

    last = record.curves.iloc[-1]
    text = f"losses of {record.name} by epoch, at the end {last['loss']:.3f} and {last['val_loss']:.3f}"
    return Picture(drawn(3.4, 2.4, draw), text, record.name)


def _labelled(record: Record, label: str) -> Iterator[tuple[str | None, pd.DataFrame]]:
    """The curves of each seed, the first of them with a label for the legend."""
    for number, (_, run) in enumerate(record.curves.groupby("seed")):
        yield (label if number == 0 else None), run


def drawn(width: float, height: float, *draws: "Callable[[Axes], None]", columns: int = 1) -> str:
    """The data URI of a picture of the given size (inches): one chart per function, `columns` beside one another."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_SETTINGS):
        figure = Figure(figsize=(width, height), layout="constrained")
        for number, draw in enumerate(draws, start=1):
            axes = figure.add_subplot(math.ceil(len(draws) / columns), columns, number)
            axes.grid(alpha=0.25, color=INK, linewidth=0.5)
            draw(axes)
        return _uri(figure)


def whole_numbers(axes: "Axes", label: str) -> None:
    """Let the horizontal axis count something."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _styles() -> Iterator[dict[str, Any]]:
    """A colour and a dash per variant, alike in all charts."""
    return ({"color": colour, "linestyle": dash} for dash in itertools.cycle(_DASHES) for colour in COLOURS)


def _legend_below(axes: "Axes") -> None:
    axes.figure.legend(loc="outside lower center", ncols=_LEGEND_COLUMNS, fontsize="small")


def _legend_height(records: Sequence[Record]) -> float:
    """Inches."""
    return 0.3 + 0.18 * math.ceil(len(records) / _LEGEND_COLUMNS)


def _line(axes: "Axes", run: pd.DataFrame, column: str, **style: Any) -> None:
    # A run of a single epoch is a point, which no line would show.
    marker = "." if len(run) == 1 else ""
    axes.plot(run["epoch"], run[column], marker=marker, linewidth=1.6, **style)


def _uri(figure: "Figure") -> str:
    stream = io.StringIO()
    # Without these keys the file would name the hour and the version.
    figure.savefig(
        stream, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
    )
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r"(<svg[^>]*>)", rf"\1{_ADAPTIVE}", svg, count=1)
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode('ascii')}"
