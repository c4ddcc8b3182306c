"""Charts of a search: its course, which keys mattered, and how they changed the score."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from terracyte.rendering import formats
from terracyte.rendering.charts import COLOURS, INK, chart, whole_numbers
from terracyte.rendering.pictures import Picture

if TYPE_CHECKING:
    from terracyte.rendering.charts import Axes

Outcome = Mapping[str, Any]
Trial = Mapping[str, Any]

_BEST, _OTHER, _PRUNED = COLOURS[1], COLOURS[0], COLOURS[4]
_SLICES = 4  # slices per row


def charts(outcome: Outcome) -> list[Picture]:
    """Draw history, importances, slices and parallel coordinates of a search; see `tune.search.search`."""
    scored = [trial for trial in outcome["trials"] if trial["score"] is not None]
    searched = [_Key(name, dimension) for name, dimension in outcome["space"].items()]
    shown = [_history(outcome)]
    if outcome["importances"]:
        shown.append(_importances(outcome["importances"]))
    return [*shown, _slices(scored, searched), _parallel(scored, searched)]


def _history(outcome: Outcome) -> Picture:
    """Draw each trial's score and the best score so far."""
    trials = outcome["trials"]
    complete = [trial for trial in trials if trial["state"] == "complete"]
    pruned = [trial for trial in trials if trial["state"] == "pruned"]
    failed = [trial["number"] for trial in trials if trial["state"] == "failed"]
    highest = [max(_scores(complete[: n + 1])) for n in range(len(complete))]

    def draw(axes: "Axes") -> None:
        whole_numbers(axes, "trial")
        axes.set_ylabel("validation score, %")
        axes.step(_numbers(complete), highest, where="post", color=_BEST, linewidth=1.2, label="best so far")
        axes.plot(_numbers(complete), _scores(complete), "o", color=_OTHER, markersize=4, label="complete")
        if pruned:
            axes.plot(_numbers(pruned), _scores(pruned), "x", color=_PRUNED, markersize=5, label="pruned")
        for number in failed:
            axes.axvline(number, color=INK, alpha=0.3, linewidth=0.8, linestyle=":", label="failed")
        handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        axes.legend(handles.values(), handles.keys(), fontsize="small")

    counts = f"{len(complete)} complete, {len(pruned)} pruned, {len(failed)} failed"
    return Picture(chart(5.6, 2.6, draw), f"score by trial: {counts}", "History")


def _importances(importances: Mapping[str, float]) -> Picture:
    ordered = sorted(importances.items(), key=lambda item: item[1])

    def draw(axes: "Axes") -> None:
        axes.barh([formats.words(key) for key, _ in ordered], [100 * value for _, value in ordered], color=_OTHER)
        axes.set_xlabel("importance, %")

    listed = ", ".join(f"{formats.words(key)} {formats.percent(value)} %" for key, value in reversed(ordered))
    return Picture(chart(5.6, 0.7 + 0.22 * len(ordered), draw), f"importances: {listed}", "Importances")


def _slices(trials: Sequence[Trial], searched: Sequence["_Key"]) -> Picture:
    """Draw the score over the values of each key."""

    def slice_of(key: _Key) -> Callable[["Axes"], None]:
        def draw(axes: "Axes") -> None:
            having = [trial for trial in trials if key.name in trial["values"]]
            strengths = [(n + 1) / len(having) for n in range(len(having))]
            colours = [(_OTHER, strength) for strength in strengths]
            axes.scatter(list(map(key.place, having)), _scores(having), c=colours, s=14)
            if key.choices:
                axes.set_xticks(range(len(key.choices)), list(map(str, key.choices)))
            elif key.is_log:
                axes.set_xscale("log")
                axes.xaxis.set_minor_formatter("")  # the labels would overlap on a short axis
                axes.set_xticks([key.low, key.high], [f"{key.low:g}", f"{key.high:g}"])
            axes.set_title(formats.words(key.name), fontsize="medium")
            axes.tick_params(labelsize="small")

        return draw

    rows = math.ceil(len(searched) / _SLICES)
    uri = chart(2.1 * _SLICES, 1.8 * rows, *map(slice_of, searched), columns=_SLICES)
    text = f"validation score (%) over each searched key: {', '.join(formats.words(key.name) for key in searched)}"
    return Picture(uri, text, "Slices: score (%) over each key; later trials are stronger")


def _parallel(trials: Sequence[Trial], searched: Sequence["_Key"]) -> Picture:
    """Draw a line per trial through its values, each key scaled to its bounds; better trials are more opaque."""
    scores = _scores(trials)
    low, high = min(scores), max(scores)

    def draw(axes: "Axes") -> None:
        for trial, score in sorted(zip(trials, scores, strict=True), key=lambda pair: pair[1]):
            places = [key.relative(trial) for key in searched]
            strength = (score - low) / (high - low) if high > low else 1.0
            colour, width = (_BEST, 2) if score == high else (_OTHER, 1)
            shade = 0.15 + 0.85 * strength**2
            axes.plot(range(len(searched)), places, color=colour, linewidth=width, alpha=shade, marker=".")
        names = [formats.words(key.name) for key in searched]
        axes.set_xticks(range(len(searched)), names, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks([0, 1], ["low", "high"])

    text = f"values of each trial; the best has {formats.percent(high / 100)} %"
    label = "Parallel coordinates: the best trial stands out, better ones are stronger"
    return Picture(chart(8.4, 3.2, draw), text, label)


class _Key:
    """A searched key and its axis."""

    def __init__(self, name: str, dimension: Mapping[str, Any]) -> None:
        self.name = name
        self.choices: list[Any] = dimension.get("choices", [])
        self.is_log = dimension.get("scale") == "log"
        self.low: float = 0 if self.choices else dimension["low"]
        self.high: float = len(self.choices) - 1 if self.choices else dimension["high"]

    def place(self, trial: Trial) -> float:
        """Return the place of the trial's value on the axis: a number itself, a choice's index, NaN without a value."""
        if self.name not in trial["values"]:
            return math.nan
        value = trial["values"][self.name]
        return float(self.choices.index(value)) if self.choices else float(value)

    def relative(self, trial: Trial) -> float:
        """Return the position scaled to 0 at the lower bound and 1 at the upper bound."""
        if self.is_log:
            return math.log(self.place(trial) / self.low) / math.log(self.high / self.low)
        return (self.place(trial) - self.low) / (self.high - self.low)


def _numbers(trials: Sequence[Trial]) -> list[int]:
    return [trial["number"] for trial in trials]


def _scores(trials: Sequence[Trial]) -> list[float]:
    """Return the trials' scores in per cent."""
    return [100 * trial["score"] for trial in trials]
