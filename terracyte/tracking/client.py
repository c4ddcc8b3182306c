"""MLflow's store: a client of it, a task's experiment, and how runs are read and written."""

import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from terracyte.core import paths
from terracyte.core.errors import InputError
from terracyte.tracking import store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric
    from mlflow.entities import Run as Run  # matching.py has it from here

_KIND = {"mlflow.experimentKind": "custom_model_development"}  # else the UI opens its pages on language models


@contextmanager
def connected() -> Iterator["MlflowClient"]:
    """Yield a client of the prepared store; whatever the store throws becomes one line.

    One process at a time: looking for a run and making it where it is missing belong together.
    """
    store.prepare()
    import mlflow

    try:
        _choose(store.uri())
        with store.locked():
            yield mlflow.MlflowClient()
    except mlflow.MlflowException as error:
        own = f"free its disk, or delete {paths.MLFLOW}, which is rebuilt"
        advice = f"start the server or unset {store.SERVER}" if store.is_server() else own
        raise InputError(f"the tracking store {store.uri()} cannot be used ({one_line(error)}): {advice}") from error


def _choose(uri: str) -> None:
    import mlflow

    given = store.is_server()
    mlflow.set_tracking_uri(uri)
    if not given:
        # MLflow put it there, where it would look like the user's choice
        os.environ.pop(store.SERVER, None)


def experiment_id(client: "MlflowClient", task: str) -> str:
    """Id of the task's experiment, made where it is missing."""
    location = store.artifacts(task)
    found = client.get_experiment_by_name(task)
    if found is None:
        return str(client.create_experiment(task, artifact_location=location, tags=_KIND))
    if location is not None and found.artifact_location != location:
        raise InputError(
            f"{paths.MLFLOW} was made in another folder ({found.artifact_location}): delete it, it is rebuilt"
        )
    return str(found.experiment_id)


def all_runs(client: "MlflowClient", experiment: str) -> "list[Run]":
    """All runs, the latest first."""
    return list(client.search_runs([experiment], max_results=50_000, order_by=["start_time DESC"]))


def log_new(client: "MlflowClient", run: "Run", values: Mapping[str, float]) -> None:
    """Record those metrics that the run does not hold with this value."""
    new = {name: value for name, value in values.items() if run.data.metrics.get(name) != value}
    if new:
        client.log_batch(run.info.run_id, metrics=as_metrics(new, step=0))


def set_tags(client: "MlflowClient", run: "Run", tags: Mapping[str, str]) -> None:
    """Set those tags that the run does not have with this value."""
    for name, value in tags.items():
        if run.data.tags.get(name) != value:
            client.set_tag(run.info.run_id, name, value)


def as_metrics(values: Mapping[str, Any], step: int) -> "list[Metric]":
    """What `log_batch` takes, measured now; MLflow stores no infinite ones."""
    from mlflow.entities import Metric

    now = int(1000 * time.time())
    return [Metric(name, float(value), now, step) for name, value in values.items() if math.isfinite(value)]


def one_line(error: Exception) -> str:
    """The message, shortened."""
    return " ".join(str(error).split())[:200]
