"""Charts: the same bytes for the same data, legible on light and dark pages, nothing fetched."""

import base64
from typing import TYPE_CHECKING

import pytest

from terracyte.rendering import charts

if TYPE_CHECKING:
    from terracyte.rendering.charts import Axes


def draw(axes: "Axes") -> None:
    charts.whole_numbers(axes, "epoch")
    axes.plot([1, 2], [0.5, 0.75], label="a line", **next(charts.line_styles()))
    charts.legend_below(axes)


def svg(uri: str) -> str:
    kind, _, data = uri.partition(",")
    assert kind == "data:image/svg+xml;base64"
    return base64.b64decode(data).decode()


def test_a_chart_is_the_same_twice_and_names_no_hour() -> None:
    first, second = (charts.chart(4, 3, draw) for _ in range(2))
    assert first == second
    assert "<dc:date>" not in svg(first)


def test_text_and_axes_take_the_colour_of_the_page() -> None:
    shown = svg(charts.chart(4, 3, draw))
    assert "prefers-color-scheme:dark" in shown
    assert charts.INK not in shown
    assert "currentColor" in shown
    assert charts.COLOURS[0] in shown
    assert ">a line</text>" in shown


def test_charts_stand_beside_one_another() -> None:
    assert svg(charts.chart(4, 3, draw, draw, draw, columns=2)).count('<g id="axes_') == 3


@pytest.mark.parametrize(("entries", "height"), [(1, 0.48), (2, 0.48), (3, 0.66)])
def test_a_legend_has_two_entries_in_a_line(entries: int, height: float) -> None:
    assert charts.legend_height(entries) == pytest.approx(height)
