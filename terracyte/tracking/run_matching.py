"""Matches MLflow's runs with trainings by their tags, their status and the last epoch of their curve alone."""

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
    """DVC's outputs of one finished training.

    Attributes:
        identity: the training's row and seed.
        title: description of its variant in a few words.
        curves: `epoch` and the epoch's metrics, one row per epoch.
        summary: metrics of the whole run, such as `best_epoch` and `test_accuracy`.
        model: path of the `.keras` file.
        published: the variant's published score, 0-1; None if there is none.
    """

    identity: Identity
    title: str
    curves: pd.DataFrame
    summary: Mapping[str, float]
    model: Path
    published: float | None = None


def is_of(run: "Run", identity: Identity) -> bool:
    """Return whether the run's fingerprint and variant are those of the training."""
    tags = run.data.tags
    return tags.get("fingerprint") == identity.fingerprint and tags.get("variant") == identity.variant


def find_finished(runs: "Iterable[Run]", training: Finished) -> "Run | None":
    """Return the first finished run of the training with the same last epoch; older code may have given another."""
    ended = (run for run in runs if run.info.status == "FINISHED" and is_of(run, training.identity))
    return next((run for run in ended if _same_last_epoch(run, training.curves)), None)


def _same_last_epoch(run: "Run", curves: pd.DataFrame) -> bool:
    """Return whether the run's metrics equal those of the curve's last epoch, which files round to six decimals."""
    logged = run.data.metrics
    last = {str(name): value for name, value in curves.iloc[-1].items() if name != "epoch"}
    return all(
        math.isclose(value, logged.get(name, math.nan), rel_tol=1e-6, abs_tol=1e-6)
        for name, value in last.items()
        if math.isfinite(value)
    )
