"""The ablation tables: raw numbers in a frame, and what people read of them."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from terracyte import evaluation
from terracyte.params import Evaluate
from terracyte.reporting import formats
from terracyte.reporting.records import Record
from terracyte.tasks.task import Task

_SHORT = 12  # hex digits of a hash: enough to tell runs apart, short enough to read
_DIFFERENCE = ("difference", "difference_low", "difference_high")


def ablation(task: Task, records: Sequence[Record], settings: Evaluate) -> pd.DataFrame:
    """One row per variant, numbers raw.

    Args:
        task: gives the names of scores and classes.
        records: the rows, in order.
        settings: of the intervals of the differences, which are paired: both rows score the same drawn images.

    Returns:
        `variant`, `title`, `seeds`, the headline, `low`, `high`, `difference` (to the row above),
        `difference_low`, `difference_high`, the other scores, the class headline of each class, `parameters`,
        `best_epoch` (of each seed), `published`, `data_hash` and `fingerprint` (of each seed; shortened).
    """
    table = pd.DataFrame([_row(task, record) for record in records])
    differences = [[np.nan] * len(_DIFFERENCE)]
    for above, record in itertools.pairwise(records):
        difference = record.scores["mean"][task.headline] - above.scores["mean"][task.headline]
        interval = evaluation.difference(task, record.confusions, above.confusions, settings)
        differences.append([round(difference, 6), *interval])
    table[list(_DIFFERENCE)] = differences
    first = ["variant", "title", "seeds", task.headline, "low", "high", *_DIFFERENCE]
    return table[first + [column for column in table.columns if column not in first]]


def class_column(task: Task, name: str) -> str:
    """The column of a class's headline, such as `iou_big_rock`."""
    return f"{task.class_headline}_{name.replace(' ', '_')}"


def results(task: Task, table: pd.DataFrame) -> pd.DataFrame:
    """The ablation table for reading: scores in per cent, differences in percentage points."""
    shown = pd.DataFrame({"variant": table["variant"], "what it is": table["title"]})
    shown[f"{formats.words(task.headline)}, %"] = table[task.headline].map(formats.percent)
    shown["interval"] = list(map(formats.interval, table["low"], table["high"]))
    shown["published, %"] = table["published"].map(formats.percent)
    shown["to the row above"] = list(map(formats.difference, *(table[name] for name in _DIFFERENCE)))
    for name in task.other_scores:
        shown[f"{formats.words(name)}, %"] = table[name].map(formats.percent)
    return shown


def classes(task: Task, table: pd.DataFrame) -> pd.DataFrame:
    """The headline of each class, in per cent."""
    shown = pd.DataFrame({f"{formats.words(task.class_headline)}, %": table["variant"]})
    for name in scored(task):
        shown[name] = table[class_column(task, name)].map(formats.percent)
    return shown


def origins(table: pd.DataFrame) -> pd.DataFrame:
    """Where each row comes from: seeds, best epochs, size, data and run."""
    return pd.DataFrame(
        {
            "variant": table["variant"],
            "parameters": table["parameters"].map(formats.count),
            "seeds": table["seeds"],
            "best epoch": table["best_epoch"],
            "data": table["data_hash"],
            "run": table["fingerprint"],
        }
    )


def markdown(task: Task, table: pd.DataFrame, settings: Evaluate) -> str:
    """The three tables as Markdown, the last two folded away."""
    parts = [
        _markdown(results(task, table)),
        note(settings),
        f"<details><summary>{task.name}: each class, and where each row comes from</summary>",
        _markdown(classes(task, table)),
        _markdown(origins(table)),
        "</details>",
    ]
    return "\n\n".join(parts) + "\n"


def note(settings: Evaluate) -> str:
    """What the columns of the results mean."""
    return (
        f"Scores of the test split, mean over the seeds; {settings.confidence:.0%} intervals over groups of test "
        "images and training seeds; differences to the row above in points, paired on the same images. Published "
        "scores were measured on the original's hidden test set, which is another one."
    )


def scored(task: Task) -> list[str]:
    """Names of the scored classes in the order of their labels."""
    return [task.classes[k] for k in task.scored_classes]


def _markdown(shown: pd.DataFrame) -> str:
    lines = [list(shown.columns), ["---"] * len(shown.columns), *shown.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _row(task: Task, record: Record) -> dict[str, Any]:
    mean, runs = record.scores["mean"], [record.training[str(seed)] for seed in record.seeds]
    low, high = record.scores["interval"][task.headline]
    return {
        "variant": record.name,
        "title": record.variant.title,
        "seeds": _joined(record.seeds),
        task.headline: mean[task.headline],
        "low": low,
        "high": high,
        **{name: mean[name] for name in task.other_scores},
        **{class_column(task, name): mean["per_class"][name][task.class_headline] for name in scored(task)},
        "parameters": runs[0]["parameters"],
        "best_epoch": _joined(run["best_epoch"] for run in runs),
        "published": np.nan if record.variant.published is None else record.variant.published,
        "data_hash": record.scores["data_hash"][:_SHORT],
        "fingerprint": _joined(identity.fingerprint[:_SHORT] for identity in record.identities),
    }


def _joined(values: Iterable[object]) -> str:
    return " ".join(map(str, values))
