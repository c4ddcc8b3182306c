"""Decide which images stay and why the others go: one decision per row of the manifest; pixels are not changed."""

from typing import Any

import pandas as pd

from terracyte.clean import duplicates, outliers
from terracyte.clean.rules import NO_TWIN, Raw, Rule
from terracyte.core import files, paths
from terracyte.core.errors import InputError
from terracyte.params import Clean
from terracyte.tasks.task import Task

# Applied in this order; no rule sees a row that an earlier one dropped. Near duplicates come last, so that no other
# rule drops the copy that is kept.
RULES: dict[str, Rule] = {
    "repeated_image": duplicates.repeated_images,
    "conflicting_duplicate": duplicates.conflicting_duplicates,
    "exact_duplicate": duplicates.exact_duplicates,
    "repeated_mask": outliers.repeated_masks,
    "off_distribution": outliers.off_distribution,
    "near_duplicate": duplicates.near_duplicates,
}
REASONS = tuple(RULES)
"""Values of the column `reason` of dropped rows."""


def decide(raw: Raw, manifest: pd.DataFrame, settings: Clean) -> pd.DataFrame:
    """Apply the rules.

    Args:
        raw: the pixels.
        manifest: one row per image.
        settings: thresholds of the rules.

    Returns:
        The manifest with `keep`, `reason` ("" if kept, else one of `REASONS`) and `duplicate_of` (id of the
        row kept instead of a duplicate, else -1).
    """
    table = manifest.assign(keep=True, reason="", duplicate_of=NO_TWIN)
    for reason, rule in RULES.items():
        rows = table[table["keep"]]
        if rows.empty:
            break
        verdict = rule(raw, rows, settings)
        dropped = table["id"].isin(verdict.index)
        table.loc[dropped, "keep"] = False
        table.loc[dropped, "reason"] = reason
        table.loc[dropped, "duplicate_of"] = table.loc[dropped, "id"].map(verdict)
    return table


def require_classes(task: Task, table: pd.DataFrame) -> None:
    """Refuse decisions that drop every image of a scored class, and save them as a table for inspection.

    Args:
        task: the task, whose scored classes must each keep an image if they have any.
        table: what `decide` returned.

    Raises:
        InputError: classes lost all images; the message names them and how many of their images each rule dropped.
    """
    holds, kept = task.class_counts(table) > 0, table["keep"].to_numpy()
    lost = [k for k in task.scored_classes if holds[:, k].any() and not holds[kept, k].any()]
    path = paths.refused_cleaning(task.name)
    if not lost:
        path.unlink(missing_ok=True)
        return
    files.write_text(path, table.to_csv(index=False))
    counts = {k: table.loc[holds[:, k], "reason"].value_counts() for k in lost}
    told = "; ".join(
        f"'{task.classes[k]}': {', '.join(f'{count} by {rule}' for rule, count in counts[k].items())}" for k in lost
    )
    raise InputError(
        f"{task.name}: cleaning drops every image of {len(lost)} classes ({told}): look at {path}, and change the "
        f"settings of these rules ('clean.{task.name}' in params.yaml), add images, or remove the classes"
    )


def summarise(table: pd.DataFrame, planted: pd.DataFrame | None = None) -> dict[str, Any]:
    """Count the decisions and, if the planted defects are known, score them.

    Args:
        table: what `decide` returned.
        planted: `id` and `defect` ("" for none) of each row; None if the defects are unknown.

    Returns:
        `kept`, `dropped` by reason, and with `planted` also `defects` (see `score`) and `genuine_lost`: the number of
        dropped rows that are neither planted nor dropped as duplicates of a planted row.
    """
    counts = table["reason"].value_counts()
    dropped = {reason: int(counts.get(reason, 0)) for reason in REASONS}
    summary = {"kept": int(table["keep"].sum()), "dropped": dropped}
    return summary if planted is None else summary | score(table, planted)


def score(table: pd.DataFrame, planted: pd.DataFrame) -> dict[str, Any]:
    """Return `defects` (number planted, precision and recall of each defect) and `genuine_lost` (see `summarise`).

    Of a planted duplicate and its original, cleaning keeps the lower id, whichever that is. Hence a dropped row
    counts as right if it or the row kept instead carries the defect, and a planted row counts as found if it is
    dropped for its defect or is the row kept instead of one dropped for it.
    """
    defects = planted.set_index("id")["defect"]
    rows = table.assign(own=table["id"].map(defects), other=table["duplicate_of"].map(defects).fillna(""))
    scores = {defect: _score(rows, defect) for defect in REASONS if (rows["own"] == defect).any()}
    lost = ~rows["keep"] & (rows["own"] == "") & (rows["other"] == "")
    return {"defects": scores, "genuine_lost": int(lost.sum())}


def _score(rows: pd.DataFrame, defect: str) -> dict[str, Any]:
    dropped = rows[rows["reason"] == defect]
    right = (dropped["own"] == defect) | (dropped["other"] == defect)
    found = rows["id"].isin(dropped["id"]) | rows["id"].isin(dropped["duplicate_of"])
    is_planted = rows["own"] == defect
    return {
        "planted": int(is_planted.sum()),
        "precision": round(float(right.mean()), 6) if len(dropped) else 0.0,
        "recall": round(float(found[is_planted].mean()), 6),
    }


def describe(summary: dict[str, Any]) -> str:
    """Format the summary as a short table: counts per reason and, if known, precision and recall."""
    lines = [f"{'kept':22}{summary['kept']:7}", *(_line(reason, summary) for reason in REASONS)]
    if "genuine_lost" in summary:
        lines.append(f"{'genuine images lost':22}{summary['genuine_lost']:7}")
    return "\n".join(lines)


def _line(reason: str, summary: dict[str, Any]) -> str:
    line = f"{reason:22}{summary['dropped'][reason]:7}"
    found = summary.get("defects", {}).get(reason)
    if not found:
        return line
    return f"{line}   planted {found['planted']}, precision {found['precision']:.3f}, recall {found['recall']:.3f}"
