"""SVG charts that fit both light and dark pages; the only module that imports matplotlib."""

import base64
import io
import itertools
import math
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes as Axes  # re-exported for modules that draw on axes
    from matplotlib.figure import Figure

# Those of Okabe and Ito's colours that stand out on both white and dark pages.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
_DASHES = ("-", "--", ":", "-.")
_LEGEND_COLUMNS = 2

# Text and axes are drawn in a colour that nothing else uses; `currentColor`, light or dark, replaces it afterwards.
INK = "#010203"
_ADAPTIVE = (
    "<style>svg{color:#333}@media (prefers-color-scheme:dark){svg{color:#ccc}}"
    "text{font-family:system-ui,sans-serif!important}</style>"
)
_SETTINGS: Any = {
    "svg.hashsalt": "terracyte",  # without it, ids would be random
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


def chart(width: float, height: float, *draws: "Callable[[Axes], None]", columns: int = 1) -> str:
    """Draw one or more charts in one picture; the same data give the same bytes.

    Args:
        width, height: the picture's size in inches.
        draws: one function per chart, which draws on the given axes.
        columns: number of charts side by side.

    Returns:
        The picture's data URI.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_SETTINGS):
        figure = Figure(figsize=(width, height), layout="constrained")
        for number, draw in enumerate(draws, start=1):
            axes = figure.add_subplot(math.ceil(len(draws) / columns), columns, number)
            axes.grid(alpha=0.25, color=INK, linewidth=0.5)
            draw(axes)
        return _data_uri(figure)


def whole_numbers(axes: "Axes", label: str) -> None:
    """Label the horizontal axis, with ticks at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def line_styles() -> Iterator[dict[str, Any]]:
    """Yield line colours and dashes in a fixed order for all charts; they repeat after 24 different ones."""
    return ({"color": colour, "linestyle": dash} for dash in itertools.cycle(_DASHES) for colour in COLOURS)


def legend_below(axes: "Axes") -> None:
    """Put the legend below the chart, whose height must include `legend_height`."""
    axes.figure.legend(loc="outside lower center", ncols=_LEGEND_COLUMNS, fontsize="small")


def legend_height(entries: int) -> float:
    """Return the height in inches that `legend_below` needs."""
    return 0.3 + 0.18 * math.ceil(entries / _LEGEND_COLUMNS)


def _data_uri(figure: "Figure") -> str:
    stream = io.StringIO()
    # None for these keys omits them: date and matplotlib's version would make the bytes differ.
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(stream, format="svg", transparent=True, metadata=metadata)
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r"(<svg[^>]*>)", rf"\1{_ADAPTIVE}", svg, count=1)
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode('ascii')}"
