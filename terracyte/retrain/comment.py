"""The Markdown comment that reports a retraining on its pull request."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from terracyte.rendering import formats
from terracyte.retrain.gate import Verdict
from terracyte.retrain.results import Results
from terracyte.tasks.task import Task

LIMIT = 60_000  # characters; GitHub takes 65,536

_SHOWN = 12  # most stages that are listed by name


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """A task's results before and after a retraining.

    Attributes:
        task: the task.
        base, head: the results at the base, and after the retraining.
        verdict: the gate's verdict.
    """

    task: Task
    base: Results
    head: Results
    verdict: Verdict


@dataclasses.dataclass(frozen=True, kw_only=True)
class Retrained:
    """An experiment after its retraining.

    Attributes:
        experiment: the experiment's folder.
        changed: the stages that ran, or came from the run cache, in the order of dvc.lock.
        comparisons: one per task.
        gone: the gate's verdicts on tasks that only the base has.
    """

    experiment: Path
    changed: Sequence[str]
    comparisons: Sequence[Comparison]
    gone: Sequence[Verdict] = ()

    @property
    def verdicts(self) -> list[Verdict]:
        """The verdicts on all tasks of the experiment."""
        return [*(each.verdict for each in self.comparisons), *self.gone]

    @property
    def passed(self) -> bool:
        """Whether the gate passes every task."""
        return all(verdict.passed for verdict in self.verdicts)


def write(base: str, commit: str, experiments: Sequence[Retrained], details: str, promoted: bool) -> str:
    """Return the whole comment.

    Args:
        base, commit: the revision to compare with, as the caller named it, and the commit where HEAD left its history.
        experiments: what was retrained.
        details: the table of `dvc metrics diff`.
        promoted: whether champions were allowed to change.
    """
    passed = all(each.passed for each in experiments)
    title = "passed" if passed else "stopped by the gate"
    parts = [f"## Retraining: {title}", f"Compared with `{base}` (`{commit[:12]}`)."]
    for each in experiments:
        where = "" if each.experiment == Path() else f" in `{_inline(str(each.experiment))}`"
        parts.append(_what_changed(each.changed, where))
        for comparison in each.comparisons:
            verdict = comparison.verdict
            parts += [*_heading(verdict, where), " ".join(verdict.notes), _table(comparison)]
        for verdict in each.gone:
            parts += _heading(verdict, where)
    if any(stage.startswith("promote@") for each in experiments for stage in each.changed):
        parts.append("`promote` ran: its decisions are in `metrics/<task>/promotion.json`.")
    elif promoted:
        parts.append("No champion was decided on: nothing that `promote` depends on has changed.")
    else:
        why = "that is done on the main branch only" if passed else "the gate stopped the change"
        parts.append(f"No champion was promoted: {why}.")
    text = "\n\n".join(parts) + "\n"
    folded = f"\n<details><summary>All changed numbers</summary>\n\n{details}\n\n</details>\n" if details else ""
    if len(text + folded) <= LIMIT:
        return text + folded
    note = "\n\nThe rest is too long for a comment: see the files of this run.\n"
    return text[: LIMIT - len(note)].rstrip("\n") + note


def failure(base: str, problem: str) -> str:
    """Return the comment on a pipeline that did not finish."""
    return f"## Retraining: failed\n\nCompared with `{base}`.\n\n`{_inline(problem)}`\n"


def _heading(verdict: Verdict, where: str) -> list[str]:
    reasons = [f"**Stopped.** {reason}" for reason in verdict.reasons]
    return [f"### {formats.sentence(_inline(verdict.task))}{where}", *reasons]


def _what_changed(stages: Sequence[str], where: str) -> str:
    if not stages:
        return f"Nothing was out of date{where}: no stage ran."
    trained = [stage.removeprefix("train@") for stage in stages if stage.startswith("train@")]
    others = [stage for stage in stages if not stage.startswith("train@")]
    parts = [f"**{len(trained)} training{'s' * (len(trained) != 1)}**" + (f" ({_listed(trained)})" if trained else "")]
    if others:
        parts.append(f"other stages: {_listed(others)}")
    return f"Brought up to date{where}: {'; '.join(parts)}. Each ran, or came from the run cache."


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(f"`{_inline(name)}`" for name in names[:_SHOWN]) + more


def _table(each: Comparison) -> str:
    """Return a table with a row per variant of base or head: each headline before, after, and its change in points."""
    names = [name for name in (each.task.headline, each.task.shift_headline) if name]
    head = [
        "variant",
        *(f"{formats.words(name)}, % {when}" for name in names for when in ("before", "after", "change")),
    ]
    variants = list(dict.fromkeys([*each.head.variants, *each.base.variants]))
    rows = [[_name(each, variant), *_cells(each, variant, names)] for variant in variants]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows])


def _name(each: Comparison, variant: str) -> str:
    note = " (removed)" * (variant not in each.head.variants) + " (new)" * (variant not in each.base.variants)
    champion = " (champion)" if variant == each.base.champion else ""
    return f"`{_inline(variant)}`{champion}{note}"


def _cells(each: Comparison, variant: str, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        before, after = each.base.score(variant, name), each.head.score(variant, name)
        yield from (formats.percent(before), formats.percent(after), formats.points(after - before))


def _inline(text: str) -> str:
    """Return text for a code span: names come from whoever wrote params.yaml and must not become markup or mentions."""
    return " ".join(text.split()).replace("`", "'").replace("|", "/")
