"""Which of MLflow's runs belongs to which training: decided by tags, status and the curve's end alone."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from terracyte.params.row import Identity

if TYPE_CHECKING:
    from terracyte.tracking.client import Run


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finished:
    """What DVC holds of one finished training.

    Attributes:
        identity: who the run is.
        title: what its variant shows, in a few words.
        curves: `epoch` and the epoch's metrics, one row per epoch.
        summary: metrics of the whole run, such as `best_epoch` and `test_accuracy`.
        model: the `.keras` file.
        published: the variant's published score, 0-1; None for none.
    """

    identity: Identity
    title: str
    curves: pd.DataFrame
    summary: Mapping[str, float]
    model: Path
    published: float | None = None


def finished(runs: "Iterable[Run]", each: Finished) -> "Run | None":
    """The first run that recorded this training whole; one that ended otherwise (say, with older code) is not it."""
    whole = (run for run in runs if run.info.status == "FINISHED" and _is_of(run, each.identity))
    return next((run for run in whole if _ended_alike(run, each.curves)), None)


def earlier(runs: "Iterable[Run]", identity: Identity) -> "list[Run]":
    """Runs that stand for this training so far."""
    return [run for run in runs if _is_of(run, identity) and run.data.tags.get("status") == "current"]


def replaced(runs: "Iterable[Run]", current: Mapping[tuple[str, int], str]) -> "list[Run]":
    """Runs beside the current ones, except those under way for a training that has no current run yet.

    Args:
        runs: of trainings.
        current: the run's id by variant and seed.
    """
    others = [run for run in runs if run.info.run_id not in current.values()]
    return [run for run in others if run.info.status != "RUNNING" or _place(run) in current]


def _is_of(run: "Run", identity: Identity) -> bool:
    tags = run.data.tags
    return tags.get("fingerprint") == identity.fingerprint and tags.get("variant") == identity.variant


def _place(run: "Run") -> tuple[str, int]:
    return run.data.tags["variant"], int(run.data.tags["seed"])


def _ended_alike(run: "Run", curves: pd.DataFrame) -> bool:
    """Whether the last epoch's metrics are those of the run; files hold six decimals, live runs all."""
    logged = run.data.metrics
    last = {str(name): value for name, value in curves.iloc[-1].items() if name != "epoch"}
    return all(
        math.isclose(value, logged.get(name, math.nan), rel_tol=1e-6, abs_tol=1e-6)
        for name, value in last.items()
        if math.isfinite(value)
    )
