"""The outcome of a search, in words."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from terracyte.params.search_space import REFERENCE, WINNER
from terracyte.rendering import formats

Outcome = Mapping[str, Any]

FORM = {"trials": [{"number": int, "state": str, "values": dict}], "variant": str, "chosen": str}
"""What `tuning.json` must hold; see `forms`."""


def note(task: str, outcome: Outcome) -> str:
    """Return one paragraph on the outcome of a search; see `tune.search.search`.

    Args:
        task: the task that was tuned.
        outcome: the search's outcome.
    """
    trials, best = outcome["trials"], outcome.get("best")
    if best is None:
        return f"Not tuned: `tune.{task}.trials` is 0."
    counted = f"Tuning of `{outcome['variant']}` ({len(trials)} trials of short trainings, scored by validation)"
    if best["number"] == 0:
        return f"{counted}: no trial was better than the reference, which stays."
    name, seeds = f"trial {best['number']}", len(outcome["confirmation"]["seeds"])
    with_seeds = f"with {seeds} fresh seed{'s' if seeds > 1 else ''}"
    if outcome["chosen"] == WINNER:
        values = ", ".join(f"{formats.words(key)} {value}" for key, value in best["values"].items())
        return (
            f"{counted}: {name} was better than the reference, {with_seeds}, too ({_means(outcome)}). Variants take "
            f"its values where they change nothing themselves: {values}."
        )
    # there is no score if the reference's trial was killed before it began
    first = next((trial["score"] for trial in trials if trial["number"] == 0), None)
    before = "no score" if first is None else f"{formats.percent(first)} %"
    against = f"{formats.percent(best['score'])} against {before}"
    if failures := outcome["confirmation"].get("failures"):
        training, failure = next(iter(failures.items()))
        return (
            f"{counted}: {name} was better than the reference ({against}), but in the confirmation a training failed "
            f"({training}: {failure}): the reference stays."
        )
    return (
        f"{counted}: {name} was better than the reference ({against}), but not {with_seeds} ({_means(outcome)}): the "
        "reference stays."
    )


def _means(outcome: Outcome) -> str:
    means = [float(np.mean(outcome["confirmation"][whose])) for whose in (WINNER, REFERENCE)]
    return f"{formats.percent(means[0])} against {formats.percent(means[1])} %"
