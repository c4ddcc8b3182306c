"""What people read of a retraining: a Markdown comment for the pull request."""

import dataclasses
import math
from collections.abc import Iterator, Sequence

from terracyte.rendering import formats
from terracyte.retrain.gate import Verdict
from terracyte.retrain.pipeline import Run
from terracyte.retrain.results import Results
from terracyte.tasks.task import Task

LIMIT = 60_000  # characters; GitHub takes 65,536

_SHOWN = 12  # stages that are named


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """A task before and after.

    Attributes:
        task: which.
        base, head: its results.
        verdict: of the gate.
    """

    task: Task
    base: Results
    head: Results
    verdict: Verdict


def write(base: str, commit: str, run: Run, comparisons: Sequence[Comparison], details: str, promoted: bool) -> str:
    """The whole comment.

    Args:
        base, commit: what the change is compared with, as named and as found.
        run: what DVC did.
        comparisons: one per task.
        details: the table of `dvc metrics diff`.
        promoted: whether the stage `promote` was run.
    """
    stopped = [each for each in comparisons if not each.verdict.passed]
    title = "stopped by the gate" if stopped else "passed"
    parts = [f"## Retraining: {title}", f"Compared with `{base}` (`{commit[:12]}`).", _what_ran(run)]
    for each in comparisons:
        parts += [f"### {formats.sentence(each.task.name)}", *_verdict(each.verdict), _table(each)]
    parts.append(_promotion(bool(stopped), promoted))
    text = "\n\n".join(parts) + "\n"
    folded = f"\n<details><summary>All changed numbers</summary>\n\n{details}\n\n</details>\n" if details else ""
    return text + folded if len(text + folded) <= LIMIT else _cut(text)


def failure(base: str, problem: str) -> str:
    """The comment where the pipeline did not come to its end."""
    return f"## Retraining: failed\n\nCompared with `{base}`.\n\n`{_inline(problem)}`\n"


def _what_ran(run: Run) -> str:
    trained = run.trained
    trainings = f"{len(trained)} training{'s' * (len(trained) != 1)}"
    if not run.ran and not run.cached:
        return "Nothing was out of date: no stage ran."
    names = f" ({_listed(trained)})" if trained else ""
    other = [stage for stage in run.ran if not stage.startswith("train@")]
    sentences = [f"**{trainings}**{names}."]
    if other:
        sentences.append(f"Other stages that ran: {_listed(other)}.")
    if run.cached:
        sentences.append(f"From the run cache: {_listed(run.cached)}.")
    return " ".join(sentences)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(f"`{_inline(name)}`" for name in names[:_SHOWN]) + more


def _verdict(verdict: Verdict) -> Iterator[str]:
    for reason in verdict.reasons:
        yield f"**Stopped.** {reason}"
    yield " ".join(verdict.notes)


def _table(each: Comparison) -> str:
    """A row per variant of either side: each headline before, after, and the difference in points."""
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
        if variant not in each.head.variants:
            after = math.nan
        yield from (formats.percent(before), formats.percent(after), formats.points(after - before))


def _promotion(stopped: bool, promoted: bool) -> str:
    if promoted:
        return "`promote` ran: its decisions are in `metrics/<task>/promotion.json`."
    why = "the gate stopped the change" if stopped else "that is done on the main branch only"
    return f"No champion was promoted: {why}."


def _inline(text: str) -> str:
    """Text for a code span: names come from whoever wrote params.yaml and must not become markup or mentions."""
    return " ".join(text.split()).replace("`", "'").replace("|", "/")


def _cut(text: str) -> str:
    note = "\n\nThe rest is too long for a comment: see the files of this run.\n"
    return text if len(text) <= LIMIT else text[: LIMIT - len(note)] + note
