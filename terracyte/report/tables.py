"""The ablation table for readers: a narrow main table, and everything else in further tables."""

import re
from collections.abc import Mapping

import pandas as pd

from terracyte.core import files, paths
from terracyte.images.shift.corruptions import SEVERITIES
from terracyte.params import Evaluate
from terracyte.params.row import NOT_TO_BE_HAD, RANDOM
from terracyte.rendering import formats
from terracyte.report import search_text
from terracyte.report.ablation import (
    DIFFERENCE,
    class_column,
    corruption_column,
    scored,
    severity_column,
    together_column,
)
from terracyte.report.records import headlines
from terracyte.tasks.task import Task

# Where a row comes from: column of the ablation table → heading in the shown table.
_ORIGIN = {
    "variant": "variant",
    "initialisation": "starts from",
    "epochs": "epochs",
    "best_epoch": "best epoch",
    "data_hash": "data",
    "code": "code",
    "fingerprint": "run",
}
_MARK = " †"


def results(task: Task, table: pd.DataFrame) -> pd.DataFrame:
    """The main table: scores in per cent with intervals, differences in percentage points.

    Args:
        task: gives the names of scores.
        table: see `ablation.ablation`.
    """
    shown = pd.DataFrame({"variant": table["variant"], "what it is": titles(table), "seeds": table["seeds"]})
    for name in headlines(task):
        columns = (table[name], table[f"{name}_low"], table[f"{name}_high"])
        shown[f"{formats.words(name)}, %"] = list(map(formats.estimate, *columns))
        together = table[together_column(name)]
        if together.notna().any():
            shown[f"{formats.words(name)} of all seeds together, %"] = together.map(formats.percent)
    *gained, p_value = DIFFERENCE
    shown["to the row above"] = list(map(formats.difference, *(table[name] for name in gained), _others(table)))
    shown["p"] = table[p_value].map(formats.p_value)
    if table["published"].notna().any():
        shown["published (other, hidden test), %"] = table["published"].map(formats.percent)
    if (table["initialisation"] != RANDOM).any():
        shown["starts from"] = table["initialisation"]
    return shown


def titles(table: pd.DataFrame) -> pd.Series:
    """Return the rows' titles, with the mark after those of marked rows."""
    return table["title"].where(table["marked"] == "", table["title"] + _MARK)


def further(task: Task, table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the tables other than the main one, by caption; the first column of each is the variant."""
    of_classes = {name: table[class_column(task, name)] for name in scored(task)}
    shown = {
        "Further scores and size": _further_scores(task, table),
        f"{_sentence(task.class_headline)} of each class, %": _percents(table, of_classes),
    }
    if task.corruptions:
        under = f"{_sentence(task.headline)} under"
        kinds = {formats.words(name): table[corruption_column(name)] for name in task.corruptions}
        severities = {str(severity): table[severity_column(severity)] for severity in SEVERITIES}
        shown[f"{under} each corruption, mean of its severities, %"] = _percents(table, kinds)
        shown[f"{under} all corruptions at severity 1 (weak) to {SEVERITIES[-1]}, %"] = _percents(table, severities)
    return {**shown, "Where each row comes from": table[list(_ORIGIN)].astype(str).rename(columns=_ORIGIN)}


def document(task: Task, table: pd.DataFrame, settings: Evaluate) -> str:
    """Return the text of `metrics/<task>/ablation.md`: all tables, the meaning of the columns, the search's outcome."""
    parts = [_markdown(results(task, table))]
    if names := ", ".join(f"`{name}`" for name in fallen_back(table)):
        parts.append(f"**Random weights in place of pretrained ones, which were not available: {names}.**")
    search = search_text.note(task.name, files.read_json(paths.tuning(task.name), search_text.FORM))
    parts += [*map(_escaped, marks(table)), note(table, settings), search]
    parts.append(f"<details><summary>{task.name}: further scores, each class, origin of each row</summary>")
    for caption, shown in further(task, table).items():
        parts += [f"{caption}:", _markdown(shown)]
    return "\n\n".join([*parts, "</details>"]) + "\n"


def fallen_back(table: pd.DataFrame) -> list[str]:
    """Return the variants that started from random weights because their pretrained weights were not available."""
    names: list[str] = table["variant"][table["initialisation"].str.contains(NOT_TO_BE_HAD, regex=False)].tolist()
    return names


def marks(table: pd.DataFrame) -> list[str]:
    """Return the meaning of the mark: one line per reason, with the rows marked for it."""
    marked = table[table["marked"] != ""]
    return [f"† {reason}: {', '.join(rows)}." for reason, rows in marked.groupby("marked", sort=False)["variant"]]


def note(table: pd.DataFrame, settings: Evaluate) -> str:
    """Return a text that says what the columns of the results mean."""
    level = 100 * settings.confidence
    said = (
        f"Scores of the test split, mean over the seeds; in brackets {level:g}% intervals over groups "
        "of test images and training seeds. Differences are in points, to the row above or the one named; their "
        "intervals and p (of a permutation test) are paired on the same images. The test takes the trained networks as "
        "they are, the interval draws their seeds, too: the two may disagree."
    )
    if table["published"].notna().any():
        said += " Published scores were measured on the original's hidden test set, which is another one."
    return said


def _others(table: pd.DataFrame) -> list[str]:
    """Return the variant with which each row is compared; "" if it is the row above."""
    above = table["variant"].shift(fill_value="")
    return ["" if other == expected else other for other, expected in zip(table["compared_with"], above, strict=True)]


def _further_scores(task: Task, table: pd.DataFrame) -> pd.DataFrame:
    others = {formats.words(name): table[name] for name in task.other_scores}
    scores = _percents(table, others).rename(columns={name: f"{name}, %" for name in others})
    return scores.assign(parameters=table["parameters"].map(formats.count))


def _percents(table: pd.DataFrame, columns: Mapping[str, pd.Series]) -> pd.DataFrame:
    shown = {name: values.map(formats.percent) for name, values in columns.items()}
    return pd.DataFrame({"variant": table["variant"], **shown})


def _sentence(identifier: str) -> str:
    return formats.sentence(formats.words(identifier))


def _markdown(shown: pd.DataFrame) -> str:
    lines = [list(shown.columns), ["---"] * len(shown.columns), *shown.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(map(_escaped, line)) + " |" for line in lines)


def _escaped(text: str) -> str:
    """Escape text so that Markdown shows it literally; underscores within words need no escape."""
    return re.sub(r"[\\`*\[\]|]|<(?=[a-zA-Z/!?])|&(?=#?\w+;)", r"\\\g<0>", text)
