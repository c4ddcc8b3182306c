"""A client of MLflow's store, a task's experiment in it, and how runs are read and written."""

import logging
import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from terracyte.core.errors import InputError, masked
from terracyte.tracking import store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

_KIND = {"mlflow.experimentKind": "custom_model_development"}  # else the UI opens its pages on language models


@contextmanager
def connected() -> Iterator["MlflowClient"]:
    """Yield a client of the prepared store; whatever the store throws becomes one line.

    One process at a time: looking for a run and making it where it is missing belong together.
    """
    store.prepare()
    import mlflow

    # its tracebacks would only say the same as the one line
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    is_server = store.is_server()
    try:
        mlflow.set_tracking_uri(store.uri())
        if not is_server:
            # MLflow put it there, where it would look like the user's choice
            os.environ.pop(store.SERVER, None)
        with store.locked():
            yield _client()
    except mlflow.MlflowException as error:
        if store.is_busy(error) and not is_server:
            raise store.in_use() from error
        problem, address = one_line(error), masked(store.uri())
        raise InputError(f"the tracking store {address} cannot be used ({problem}): {store.advice()}") from error


def _client() -> "MlflowClient":
    """A client; what MLflow lets through becomes one of its errors: a missing driver, an address that is none."""
    import mlflow

    try:
        return mlflow.MlflowClient()
    except mlflow.MlflowException:
        raise
    except Exception as error:
        raise mlflow.MlflowException(str(error)) from error


def experiment_id(client: "MlflowClient", task: str) -> str:
    """Id of the task's experiment, made where it is missing."""
    name = store.experiment_name(task)
    location = store.artifacts(name)
    found = client.get_experiment_by_name(name)
    if found is None:
        return str(client.create_experiment(name, artifact_location=location, tags=_KIND))
    if found.lifecycle_stage == "deleted":
        command = f"mlflow experiments restore --experiment-id {found.experiment_id}"
        address = masked(store.uri())
        raise InputError(
            f"MLflow's experiment {name!r} is deleted: bring it back with `MLFLOW_TRACKING_URI={address} {command}`"
        )
    if location is not None and found.artifact_location != location:
        folder = store.database().parent
        advice = f"move the project back, or rename {folder}: a new one is made from DVC's outputs"
        raise InputError(f"{folder} was made in another folder ({found.artifact_location}): {advice}")
    return str(found.experiment_id)


def all_runs(client: "MlflowClient", experiment: str) -> "list[Run]":
    """All runs, the latest first."""
    return list(client.search_runs([experiment], max_results=50_000, order_by=["start_time DESC"]))


def log_new(client: "MlflowClient", run: "Run", values: Mapping[str, float]) -> None:
    """Record those metrics that the run does not hold with this value.

    Of two values MLflow shows the later one: these are later than what they replace even where the clock was set back.
    """
    new = {name: value for name, value in values.items() if run.data.metrics.get(name) != value}
    if new:
        replaced = [name for name in new if name in run.data.metrics]
        past = [each.timestamp for name in replaced for each in client.get_metric_history(run.info.run_id, name)]
        client.log_batch(run.info.run_id, metrics=as_metrics(new, step=0, after=max(past, default=0)))


def terminate(client: "MlflowClient", run: "Run", status: str = "FINISHED") -> None:
    """End a run now, or where the clock was set back at its start: no duration is negative."""
    client.set_terminated(run.info.run_id, status, max(_now(), run.info.start_time))


def set_tags(client: "MlflowClient", run: "Run", tags: Mapping[str, str]) -> None:
    """Set those tags that the run does not have with this value."""
    for name, value in tags.items():
        if run.data.tags.get(name) != value:
            client.set_tag(run.info.run_id, name, value)


def as_metrics(values: Mapping[str, Any], step: int, after: int = 0) -> "list[Metric]":
    """What `log_batch` takes, measured now or just `after` this millisecond; MLflow stores no infinite ones."""
    from mlflow.entities import Metric

    now = max(_now(), after + 1)
    return [Metric(name, float(value), now, step) for name, value in values.items() if math.isfinite(value)]


def _now() -> int:
    return int(1000 * time.time())


def one_line(error: Exception) -> str:
    """The message, shortened; without passwords, and SQLAlchemy's link to an explanation of its own."""
    return masked(" ".join(str(error).partition("(Background on this error")[0].split()))[:200]
