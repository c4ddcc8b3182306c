"""The ablation table in raw numbers: one row per variant, one column per figure."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from terracyte.evaluate import scores
from terracyte.images.shift.corruptions import SEVERITIES
from terracyte.metrics.confusion import Counts
from terracyte.params import Evaluate
from terracyte.report.records import Record, headlines
from terracyte.tasks.task import Task

DIFFERENCE = ("difference", "difference_low", "difference_high", "p_value")

_SHORT = 12  # hex digits of a hash: enough to tell runs apart, short enough to read


def ablation(task: Task, records: Sequence[Record], settings: Evaluate) -> pd.DataFrame:
    """Return the ablation table, with one row per variant.

    Args:
        task: gives the names of scores, classes and corruptions.
        records: the rows, in order.
        settings: those of the comparison of each row with the row above, or with the row that its variant names.

    Returns:
        The columns `variant`, `seeds`, `score` (the headline), the headline under its own name, its `_low` and `_high`,
        the same of the shift headline, both headlines with `_together` (of the seeds' averaged logits; NaN for one
        seed), the other scores, `iou_<class>` (or whatever the class headline is), `corruption_<name>`,
        `severity_<1-5>`, `DIFFERENCE` (NaN in the first row), `compared_with` (the other row's variant; "" in the
        first row), `parameters`, `initialisation`, `best_epoch` and `epochs` (of each seed), `published`, `data_hash`
        (shortened), `code` (version of the code that trained it), `fingerprint` (of each seed; shortened), `title`
        and `marked` (why the row is outside the challenge's rules; "" inside).
    """
    rows = {record.name: row(task, record) for record in records}
    confusions = {record.name: record.confusions for record in records}
    for name, columns in rows.items():
        if other := columns["compared_with"]:
            gained = columns[task.headline] - rows[other][task.headline]
            columns |= difference(task, gained, confusions[name], confusions[other], settings)
    return pd.DataFrame(list(rows.values()))


def row(task: Task, record: Record) -> dict[str, Any]:
    """Return a row of `ablation`, with NaN in the columns of `DIFFERENCE`."""
    mean, runs = record.scores["mean"], [record.training[str(seed)] for seed in record.seeds]
    published = record.variant.published
    return {
        "variant": record.name,
        "seeds": _joined(record.seeds),
        "score": mean[task.headline],  # under one name for all tasks, for DVC's plots
        **_headlines(task, record),
        **{name: mean[name] for name in task.other_scores},
        **{class_column(task, name): mean["per_class"][name][task.class_headline] for name in scored(task)},
        **_shift(task, mean),
        **dict.fromkeys(DIFFERENCE, np.nan),
        "compared_with": record.compared_with or "",
        # the mean, as the networks of a row may differ
        "parameters": round(sum(run["parameters"] for run in runs) / len(runs)),
        "initialisation": record.row.initialisation,
        "best_epoch": _joined(run["best_epoch"] for run in runs),
        "epochs": _joined(run["epochs"] for run in runs),
        "published": np.nan if published is None else published,
        "data_hash": record.row.data_hash[:_SHORT],
        "code": runs[0]["code"],
        "fingerprint": _joined(identity.fingerprint[:_SHORT] for identity in record.row.identities),
        "title": record.variant.title,
        "marked": record.variant.marked or "",
    }


def difference(task: Task, gained: float, one: Counts, other: Counts, settings: Evaluate) -> dict[str, float]:
    """Return the columns of `DIFFERENCE`; interval and test are paired: both rows are scored on the same drawn images.

    Args:
        task: the task whose headline is compared.
        gained: the row's headline minus that of the other row.
        one, other: (seeds, groups, k, k) of both rows, see `evaluate.confusions.confusions`.
        settings: those of the resampling.
    """
    interval = scores.difference(task, one, other, settings)
    values = [round(gained, 6), *interval, scores.p_value(task, one, other, settings)]
    return dict(zip(DIFFERENCE, values, strict=True))


def together_column(headline: str) -> str:
    """Return the column of a headline of the averaged logits of all seeds."""
    return f"{headline}_together"


def scored(task: Task) -> list[str]:
    """Names of the scored classes in the order of their labels."""
    return [task.classes[k] for k in task.scored_classes]


def class_column(task: Task, name: str) -> str:
    """The column of a class's headline, such as `iou_big_rock`."""
    return f"{task.class_headline}_{name.replace(' ', '_')}"


def corruption_column(name: str) -> str:
    """The column of the headline under one corruption."""
    return f"corruption_{name}"


def severity_column(severity: int) -> str:
    """The column of the headline under all corruptions at one severity."""
    return f"severity_{severity}"


def _headlines(task: Task, record: Record) -> dict[str, float]:
    """Return each headline with its interval, then each headline of the seeds' averaged logits."""
    several = len(record.seeds) > 1
    columns: dict[str, float] = {}
    for name in headlines(task):
        low, high = record.scores["interval"][name]
        columns |= {name: record.scores["mean"][name], f"{name}_low": low, f"{name}_high": high}
    for name in headlines(task):
        columns[together_column(name)] = record.scores["together"][name] if several else np.nan
    return columns


def _shift(task: Task, mean: dict[str, Any]) -> dict[str, float]:
    if not task.corruptions:
        return {}
    of_severities = zip(SEVERITIES, mean["shift_severity"], strict=True)
    return {
        **{corruption_column(name): mean["shift"][name] for name in task.corruptions},
        **{severity_column(severity): value for severity, value in of_severities},
    }


def _joined(values: Iterable[object]) -> str:
    return " ".join(map(str, values))
