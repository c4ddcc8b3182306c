"""Which of MLflow's runs belongs to which training: decided by tags, status and the curve's end alone."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from terracyte.params.row import Identity

if TYPE_CHECKING:
    from mlflow.entities import Run


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


def is_of(run: "Run", identity: Identity) -> bool:
    """Whether it is a run of this training."""
    tags = run.data.tags
    return tags.get("fingerprint") == identity.fingerprint and tags.get("variant") == identity.variant


def find_finished(runs: "Iterable[Run]", training: Finished) -> "Run | None":
    """The first finished run of this training whose curve ends alike; another curve is, say, that of older code."""
    ended = (run for run in runs if run.info.status == "FINISHED" and is_of(run, training.identity))
    return next((run for run in ended if _same_last_epoch(run, training.curves)), None)


def current_runs(runs: "Iterable[Run]", identity: Identity) -> "list[Run]":
    """The runs of this training that are marked as current."""
    return [run for run in runs if is_of(run, identity) and run.data.tags.get("status") == "current"]


def superseded(runs: "Iterable[Run]", current: Mapping[tuple[str, int], str]) -> "list[Run]":
    """All but the current runs, and but those under way for a training that has no current run yet.

    Args:
        runs: of trainings.
        current: the run's id by variant and seed.
    """

    def is_under_way(run: "Run") -> bool:
        tags = run.data.tags
        return run.info.status == "RUNNING" and (tags["variant"], int(tags["seed"])) not in current

    return [run for run in runs if run.info.run_id not in current.values() and not is_under_way(run)]


def _same_last_epoch(run: "Run", curves: pd.DataFrame) -> bool:
    """Whether the metrics of the curve's last epoch are the run's; files hold six decimals, live runs all."""
    logged = run.data.metrics
    last = {str(name): value for name, value in curves.iloc[-1].items() if name != "epoch"}
    return all(
        math.isclose(value, logged.get(name, math.nan), rel_tol=1e-6, abs_tol=1e-6)
        for name, value in last.items()
        if math.isfinite(value)
    )
