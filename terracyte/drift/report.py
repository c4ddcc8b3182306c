"""Reports drift to people: a verdict in one sentence, a summary in JSON, and a self-contained HTML page."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from terracyte.drift.comparison import Finding, Numbers
from terracyte.rendering import charts, formats, templates
from terracyte.rendering.pictures import Picture, photograph
from terracyte.tasks.task import Task

if TYPE_CHECKING:
    from terracyte.rendering.charts import Axes

_BINS = 24
_NAMED = 3  # findings that the verdict names
_TAIL = 0.5  # per cent at either end that a histogram adds to its outermost bin: outliers would squeeze the rest


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """What a comparison found, for page and summary.

    Attributes:
        task: the task that the images belong to.
        images: number of incoming images.
        training, validation: numbers of reference images from these splits; without a champion, `validation` is 0.
        champion: the champion's variant; "" without a champion.
        findings: one per compared statistic, see `comparison.compare`.
        reference, incoming: values by statistic.
        strangest, usual: names and images (h, w, c): the strangest incoming images, and some training images.
    """

    task: Task
    images: int
    training: int
    validation: int
    champion: str
    findings: Sequence[Finding]
    reference: Mapping[str, Numbers]
    incoming: Mapping[str, Numbers]
    strangest: Sequence[tuple[str, Any]]
    usual: Sequence[tuple[str, Any]]

    @property
    def drifted(self) -> list[Finding]:
        """The findings that count."""
        return [finding for finding in self.findings if finding.drifted]

    @property
    def verdict(self) -> str:
        """One sentence: which statistics have drifted, or that none has and what may have stayed unseen."""
        found = self.drifted
        if not found:
            return f"No drift found in {_images(self.images)}: {self.bound}"
        named = ", ".join(f"{each.name} ({_direction(each)})" for each in found[:_NAMED])
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        of = f"{len(found)} of {len(self.findings)} statistics"
        return f"Drift in {_images(self.images)}: {of} are distributed differently, most of all {named}{more}."

    @property
    def bound(self) -> str:
        """The end of a sentence on the smallest distance that would have been noticed in every statistic."""
        least = max((finding.noticed for finding in self.findings), default=1.0)
        if least >= 1:
            return "so few images cannot show a difference, however large; give more."
        return f"with so many, a distance below {least:.2f} (of 1) may go unnoticed."


def summary(report: Report) -> dict[str, Any]:
    """Return the content of `summary.json`."""
    return {
        "task": report.task.name,
        "drift": bool(report.drifted),
        "verdict": report.verdict,
        "images": report.images,
        "training_images": report.training,
        "validation_images": report.validation,
        "champion": report.champion or None,
        "findings": [dataclasses.asdict(finding) for finding in report.findings],
    }


def page(report: Report) -> str:
    """Return the page as HTML; it holds no time, no absolute path and no link to the network."""
    return templates.render(
        Path(__file__).with_name("drift.html.j2"),
        report=report,
        direction=_direction,
        charts=[_chart(report, finding) for finding in report.findings],
        strangest=[_picture(name, image) for name, image in report.strangest],
        usual=[_picture(name, image) for name, image in report.usual],
    )


def _images(count: int) -> str:
    return f"{formats.count(count)} image{'s' * (count != 1)}"


def _direction(finding: Finding) -> str:
    if np.isclose(finding.before, finding.after):
        return "spread differently"
    return "higher" if finding.after > finding.before else "lower"


def _picture(name: str, image: Any) -> Picture:
    return Picture(photograph(image), name, Path(name).name)


def _chart(report: Report, finding: Finding) -> Picture:
    """Draw the histograms of the reference and the incoming values, each with an area of 1."""
    before, after = report.reference[finding.name], report.incoming[finding.name]
    both = [np.percentile(values, [_TAIL, 100 - _TAIL]) for values in (before, after)]
    low, high = min(bounds[0] for bounds in both), max(bounds[1] for bounds in both)
    bins = np.linspace(low, high if high > low else low + 1, _BINS + 1)

    def draw(axes: "Axes") -> None:
        style: dict[str, Any] = {"bins": bins, "density": True}
        axes.hist(before.clip(bins[0], bins[-1]), color=charts.COLOURS[0], alpha=0.45, label="before", **style)
        line: dict[str, Any] = {"histtype": "step", "linewidth": 1.8, "color": charts.COLOURS[1], **style}
        axes.hist(after.clip(bins[0], bins[-1]), label="incoming", **line)
        axes.set_yticks([])
        axes.legend(fontsize="small")

    text = f"{finding.name}: median {finding.before:.4g} before, {finding.after:.4g} incoming"
    mark = "✗" if finding.drifted else "✓"
    return Picture(charts.chart(3.4, 2.0, draw), text, f"{mark} {finding.name}, distance {finding.distance:.2f}")
