"""The gate: a retraining must not leave a task with a worse champion than it had."""

import dataclasses
import math
from pathlib import Path

from terracyte.core import paths
from terracyte.rendering import formats
from terracyte.retrain.results import Results
from terracyte.tasks.task import Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """The gate's verdict on a task.

    Attributes:
        task: the task's name.
        reasons: why the gate stops the change, one sentence each; empty where it passes.
        notes: further facts, one sentence each.
    """

    task: str
    reasons: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the change may go on."""
        return not self.reasons


def judge(task: Task, base: Results, head: Results, experiment: Path = Path()) -> Verdict:
    """Compare the base's champion with the same variant after the retraining.

    It must still be a row of the experiment and have scores, and no score that has an interval at the base (the
    headline, and the one under shift) may lie below that interval. The resampled interval of a perfect score has no
    width; the rule of three then gives its lower end, 3 / groups below the score (Hanley and Lippman-Hand 1983).

    Args:
        task: the task.
        base: the results at the commit that the change started from.
        head: the results after the retraining.
        experiment: the experiment's folder.

    Raises:
        InputError: an interval of the base is not two numbers.
    """
    name = base.champion
    if name is None or name not in base.scores:
        return Verdict(task=task.name, reasons=(), notes=("The base has no scored champion: nothing to compare with.",))
    notes = [f"The champion `{name}` was {'promoted' if base.promoted else 'the best by validation'} at the base."]
    if name not in head.variants:
        advice = f"keep it in {experiment / paths.EXPERIMENT} until another is promoted"
        reasons = [f"The champion `{name}` is no longer a row: {advice}."]
    elif name not in head.scores:
        reasons = [f"The champion `{name}` has no scores: {experiment / paths.scores(task.name, name)} is missing."]
    else:
        reasons, held = _compared(base, head, name)
        notes += held
        if base.scores[name].get("data_hash") != head.scores[name].get("data_hash"):
            notes.append("The data changed: before and after are scores of different test images.")
    return Verdict(task=task.name, reasons=tuple(reasons), notes=tuple(notes))


def without_task(name: str) -> Verdict:
    """Return the verdict on a task that has rows at the base and none after the change."""
    reason = f"The task `{name}` has no row any more, so its champion is gone: merge past this gate if that is meant."
    return Verdict(task=name, reasons=(reason,), notes=())


def _compared(base: Results, head: Results, name: str) -> tuple[list[str], list[str]]:
    """Return the reasons to stop, and a note for each score that lies within its interval or above."""
    intervals, reasons, notes = base.interval(name), [], []
    if not intervals:
        reasons.append(f"The champion `{name}` has no interval at the base: evaluate it there again.")
    for score, (low, high) in intervals.items():
        groups = base.scores[name].get("groups") or 1
        low = low if low < high else max(0.0, low - 3 / groups)
        words, before, after = formats.words(score), base.score(name, score), head.score(name, score)
        decimals = formats.telling_apart(after, low) if after < low else 1
        was = f"{formats.percent(before, decimals)} % with an interval of {formats.interval(low, high, decimals)} %"
        if math.isnan(after):
            reasons.append(f"The {words} of the champion `{name}` is missing or no number; it was {was}.")
        elif after < low:
            fell = f"fell to {formats.percent(after, decimals)} %; it was {was}"
            reasons.append(f"The {words} of the champion `{name}` {fell}.")
        else:
            notes.append(f"Its {words} is {formats.percent(after)} %; it was {was}.")
    return reasons, notes
