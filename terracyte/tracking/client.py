"""Access to MLflow's store: a client, a task's experiment, and functions that read and write runs."""

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

_KIND = {"mlflow.experimentKind": "custom_model_development"}  # otherwise the UI opens its pages for LLMs


@contextmanager
def connected() -> Iterator["MlflowClient"]:
    """Yield a client of the prepared store; the store's errors become an InputError of one line.

    Only one process of this machine at a time may enter: it looks up a run, and creates it if it is missing.
    """
    store.prepare()
    import mlflow

    # this logger's tracebacks would only repeat the one-line error
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    is_server = store.is_server()
    try:
        mlflow.set_tracking_uri(store.uri())
        if not is_server:
            # MLflow has set the variable, which would look like the user's choice of a store
            os.environ.pop(store.SERVER, None)
        with store.locked():
            yield _client()
    except mlflow.MlflowException as error:
        if store.is_busy(error) and not is_server:
            raise store.in_use() from error
        problem, address = one_line(error), masked(store.uri())
        raise InputError(f"the tracking store {address} cannot be used ({problem}): {store.advice()}") from error


def _client() -> "MlflowClient":
    """Create a client; other libraries' errors (missing driver, invalid address) become an MlflowException."""
    import mlflow

    try:
        return mlflow.MlflowClient()
    except mlflow.MlflowException:
        raise
    except Exception as error:
        raise mlflow.MlflowException(str(error)) from error


def experiment_id(client: "MlflowClient", task: str) -> str:
    """Return the id of the task's experiment, which is created if it is missing.

    Raises:
        InputError: the experiment is deleted, or the database was created in another folder.
    """
    name = store.experiment_name(task)
    location = store.artifacts(name)
    found = client.get_experiment_by_name(name)
    if found is None:
        return str(client.create_experiment(name, artifact_location=location, tags=_KIND))
    if found.lifecycle_stage == "deleted":
        command = f"mlflow experiments restore --experiment-id {found.experiment_id}"
        address = masked(store.uri())
        raise InputError(
            f"MLflow's experiment {name!r} is deleted: restore it with `MLFLOW_TRACKING_URI={address} {command}`"
        )
    if location is not None and found.artifact_location != location:
        folder = store.database().parent
        advice = f"move the project back, or rename {folder}; a new one is then made from DVC's outputs"
        raise InputError(f"{folder} was made when the project was elsewhere ({found.artifact_location}): {advice}")
    return str(found.experiment_id)


def all_runs(client: "MlflowClient", experiment: str) -> "list[Run]":
    """Return all runs of an experiment, the latest first."""
    return list(client.search_runs([experiment], max_results=50_000, order_by=["start_time DESC"]))


def log_new(client: "MlflowClient", run: "Run", values: Mapping[str, float]) -> None:
    """Record the metrics that the run lacks or holds with another value.

    MLflow shows the later of two values, so a new value gets a later time than the old one, even after the clock was
    set back.
    """
    new = {name: value for name, value in values.items() if run.data.metrics.get(name) != value}
    if new:
        replaced = [name for name in new if name in run.data.metrics]
        past = [each.timestamp for name in replaced for each in client.get_metric_history(run.info.run_id, name)]
        client.log_batch(run.info.run_id, metrics=as_metrics(new, step=0, after=max(past, default=0)))


def terminate(client: "MlflowClient", run: "Run", status: str = "FINISHED") -> None:
    """End a run now, or at its start time if the clock was set back, so that no duration is negative."""
    client.set_terminated(run.info.run_id, status, max(_now(), run.info.start_time))


def set_tags(client: "MlflowClient", run: "Run", tags: Mapping[str, str]) -> None:
    """Set the tags that the run lacks or has with another value."""
    for name, value in tags.items():
        if run.data.tags.get(name) != value:
            client.set_tag(run.info.run_id, name, value)


def as_metrics(values: Mapping[str, Any], step: int, after: int = 0) -> "list[Metric]":
    """Return metrics for `log_batch`, timed now but later than `after` (ms); MLflow stores finite values only."""
    from mlflow.entities import Metric

    now = max(_now(), after + 1)
    return [Metric(name, float(value), now, step) for name, value in values.items() if math.isfinite(value)]


def _now() -> int:
    return int(1000 * time.time())


def one_line(error: Exception) -> str:
    """Return the error's message as one line of at most 200 characters, without passwords and SQLAlchemy's link."""
    return masked(" ".join(str(error).partition("(Background on this error")[0].split()))[:200]
