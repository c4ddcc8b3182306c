"""Line charts as SVG; the only importer of matplotlib."""

import base64
import io
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from terracyte.reporting import formats
from terracyte.reporting.pictures import Picture
from terracyte.reporting.records import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours that stand out from a white and from a dark page.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
_DASHES = ("-", "--", ":", "-.")

# Text and axes are drawn in a colour that nothing else has; it becomes the page's own, light or dark.
_INK = "#010203"
_ADAPTIVE = (
    "<style>svg{color:#333}@media (prefers-color-scheme:dark){svg{color:#ccc}}"
    "text{font-family:system-ui,sans-serif!important}</style>"
)
_SETTINGS: Any = {
    "svg.hashsalt": "terracyte",  # ids would be random otherwise
    "svg.fonttype": "none",
    "font.size": 10,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
}


def headline_curves(records: Sequence[Record], column: str) -> Picture:
    """The validation headline by epoch: a line per variant and seed, those of a variant alike."""

    def draw(axes: "Axes") -> None:
        for place, record in enumerate(records):
            colour, dash = _COLOURS[place % len(_COLOURS)], _DASHES[place // len(_COLOURS) % len(_DASHES)]
            for label, run in _labelled(record, record.name):
                _line(axes, run, column, color=colour, linestyle=dash, label=label)
        axes.set_ylabel(formats.words(column))
        axes.set_ylim(bottom=0)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)

    highest = ", ".join(f"{record.name} {formats.percent(record.curves[column].max())} %" for record in records)
    return Picture(_drawn(4.6, 3.1, draw), f"{formats.words(column)} by epoch; highest values: {highest}")


def loss_curves(record: Record) -> Picture:
    """Training and validation loss of one variant by epoch; dots mark the epochs whose weights were kept."""

    def draw(axes: "Axes") -> None:
        for label, run in _labelled(record, "training"):
            _line(axes, run, "loss", color=_COLOURS[1], linestyle="--", label=label)
        for label, run in _labelled(record, "validation"):
            _line(axes, run, "val_loss", color=_COLOURS[0], label=label)
            kept = run[run["epoch"] == record.training[str(run["seed"].iloc[0])]["best_epoch"]]
            axes.plot(kept["epoch"], kept["val_loss"], "o", color=_COLOURS[0])
        axes.set_ylabel("loss")
        axes.legend()

    last = record.curves.iloc[-1]
    text = f"losses of {record.name} by epoch, at the end {last['loss']:.3f} and {last['val_loss']:.3f}"
    return Picture(_drawn(3.4, 2.4, draw), text, record.name)


def _labelled(record: Record, label: str) -> Iterator[tuple[str | None, pd.DataFrame]]:
    """The curves of each seed, the first of them with a label for the legend."""
    for number, (_, run) in enumerate(record.curves.groupby("seed")):
        yield (label if number == 0 else None), run


def _drawn(width: float, height: float, draw: "Callable[[Axes], None]") -> str:
    """The data URI of a chart of the given size (inches) over epochs."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    with rc_context(_SETTINGS):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.add_subplot()
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.25, color=_INK, linewidth=0.5)
        draw(axes)
        return _uri(figure)


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
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    svg = re.sub(r"(<svg[^>]*>)", rf"\1{_ADAPTIVE}", svg, count=1)
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode('ascii')}"
