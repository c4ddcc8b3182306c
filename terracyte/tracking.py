"""MLflow, the record of runs: a live run while training, and reconciliation with DVC's outputs.

DVC's outputs stay the truth: a lost, broken or half-written record is made again by `reconcile`. The only
module that imports mlflow.
"""

import dataclasses
import importlib.metadata
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import numpy as np

from terracyte import commit, files, matching, origin, paths, store
from terracyte.errors import InputError
from terracyte.identity import Identity
from terracyte.matching import Finished

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric
    from mlflow.entities import Run as Run  # matching.py has it from here
    from mlflow.models import ModelSignature

CURRENT = "tags.status = 'current'"  # what finds the declared runs in the UI's search field

# How a run came to be recorded, if not from DVC's outputs alone: while it was trained, or when it came home.
LIVE, CLUSTER = "live", "cluster"

_REPORT = "report"
_KIND = {"mlflow.experimentKind": "custom_model_development"}  # else the UI opens its pages on language models
_BATCH = 1000  # metrics per request that MLflow takes at most


class LiveRun:
    """The record of a training under way; trouble with MLflow is told once and never stops the training."""

    def __init__(self, run_id: str, logged_epochs: Iterable[int]) -> None:
        self.run_id = run_id
        self._complete = True
        self._logged_epochs = set(logged_epochs)

    def log_epoch(self, epoch: int, values: Mapping[str, float]) -> None:
        """Record an epoch's metrics; an epoch that the run holds already is passed over.

        Args:
            epoch: from 1 on.
            values: metric by name.
        """
        import mlflow

        if epoch not in self._logged_epochs:
            self._attempt(lambda: mlflow.log_metrics(dict(values), step=epoch))
            self._logged_epochs.add(epoch)

    def log_metrics(self, values: Mapping[str, float]) -> None:
        """Record metrics of the whole run."""
        import mlflow

        self._attempt(lambda: mlflow.log_metrics(dict(values)))

    def log_model(self, model: Any) -> None:
        """Record a Keras model of one input and one output, with their shapes as its signature."""

        def log() -> None:
            import mlflow.keras

            signature = _signature(model.input_shape, model.output_shape)
            mlflow.keras.log_model(model, name="model", signature=signature, pip_requirements=_requirements())

        self._attempt(log)

    def end(self, status: str) -> None:
        """End the run; one with gaps has FAILED, so that `reconcile` makes a whole one."""
        import mlflow

        self._attempt(lambda: mlflow.end_run(status if self._complete else "FAILED"))

    def _attempt(self, action: Callable[[], object]) -> None:
        try:
            action()
        # whatever store, network or disk throw: the training is worth more than its record
        except Exception as error:
            if self._complete:
                message = f"warning: MLflow failed ({_one_line(error)}); training goes on, the report records it"
                print(message, file=sys.stderr)
            self._complete = False


@contextmanager
def training_run(identity: Identity, title: str, record: str = LIVE) -> Iterator[LiveRun]:
    """Record a training while it runs; a training that was killed goes on under the same run.

    Args:
        identity: who the run is; `metrics/<task>/balance.json` describes its data, `terracyte.origin` its weights.
        title: what its variant shows, in a few words.
        record: `LIVE`, or `CLUSTER` for a training that ended elsewhere.

    Raises:
        InputError: the tracking store cannot be used; nothing was trained yet.
    """
    with _client() as client:
        import mlflow

        experiment = _experiment(client, identity.task)
        run = _unfinished_run(client, experiment, identity) or _new_run(client, experiment, identity)
        run_id = run.info.run_id
        _describe(client, run_id, identity, {"record": record, "mlflow.note.content": title, **commit.tags()})
        logged = [metric.step for metric in client.get_metric_history(run_id, "loss")]
        # the fluent interface from here on: only it measures the machine beside the run
        mlflow.start_run(run_id, log_system_metrics=record == LIVE)
    live = LiveRun(run_id, logged)
    try:
        yield live
    except BaseException as error:
        live.end("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    live.end("FINISHED")


def check(task: str) -> None:
    """Refuse a store that cannot take a training's record, before hours go into the training.

    Raises:
        InputError: the tracking store cannot be used.
    """
    with _client() as client:
        _experiment(client, task)


def reconcile(task: str, finished: Sequence[Finished]) -> dict[tuple[str, int], str]:
    """Let the task's experiment hold exactly one current run per finished training; twice changes nothing.

    A run that the store lacks (fresh clone, training done elsewhere, wiped store) is made from DVC's outputs.
    Test scores are added where they are missing or others. All other runs become `status: superseded`, except
    one that is under way for a variant and seed that `finished` lacks.

    Returns:
        The run of each (variant, seed).

    Raises:
        InputError: the tracking store cannot be used.
    """
    with _client() as client:
        experiment = _experiment(client, task)
        runs = [run for run in _runs(client, experiment) if "fingerprint" in run.data.tags]
        current = {}
        for each in finished:
            run = matching.finished(runs, each) or _rebuild(client, experiment, each)
            _set_tags(client, run, {"status": "current", "mlflow.note.content": each.title})
            _log_new(client, run, each.summary)
            current[each.identity.variant, each.identity.seed] = run.info.run_id
        for run in matching.replaced(runs, current):
            _set_tags(client, run, {"status": "superseded"})
    return current


def measured(task: str, fingerprints: Sequence[str]) -> list[dict[str, float]]:
    """The metrics of each training, clocks among them, as its latest finished live run holds them.

    Returns:
        One per fingerprint; empty where the store has no such run (a rebuilt one knows no clocks).

    Raises:
        InputError: the tracking store cannot be used.
    """
    with _client() as client:
        runs = _runs(client, _experiment(client, task))
    live = [run for run in runs if run.info.status == "FINISHED" and run.data.tags.get("record") in (LIVE, CLUSTER)]
    found = {run.data.tags["fingerprint"]: dict(run.data.metrics) for run in reversed(live)}
    return [found.get(fingerprint, {}) for fingerprint in fingerprints]


def log_report(task: str, pages: Sequence[Path]) -> None:
    """Keep the files of the latest report as artifacts of the experiment's one run `report`.

    Raises:
        InputError: the tracking store cannot be used.
    """
    with _client() as client:
        experiment = _experiment(client, task)
        existing = [run for run in _runs(client, experiment) if run.data.tags.get("kind") == _REPORT]
        tags = {"kind": _REPORT, "status": "current"}
        run = existing[0] if existing else client.create_run(experiment, run_name=_REPORT, tags=tags)
        for page in pages:
            client.log_artifact(run.info.run_id, str(page))
        client.set_terminated(run.info.run_id)


def log_study(task: str, outcome: Mapping[str, Any]) -> None:
    """Keep a search as a run of the task's experiment, its trials as nested ones; twice changes nothing.

    Args:
        task: whose.
        outcome: see `search.search`; one without trials is passed over. Other searches become `status: superseded`.

    Raises:
        InputError: the tracking store cannot be used.
    """
    if not outcome["trials"]:
        return
    with _client() as client:
        experiment = _experiment(client, task)
        known = [run for run in _runs(client, experiment) if "study" in run.data.tags]
        ours = [run for run in known if run.data.tags["study"] == outcome["study"]]
        for run in known:
            _set_tags(client, run, {"status": "tuning" if run in ours else "superseded"})
        parent = next((run for run in ours if "trial" not in run.data.tags), None)
        if parent is None:
            tags = {"study": outcome["study"], "variant": outcome["variant"], "status": "tuning"}
            parent = client.create_run(experiment, run_name=f"tuning {outcome['study']}", tags=tags)
        logged = {run.data.tags.get("trial") for run in ours}
        for trial in outcome["trials"]:
            if str(trial["number"]) not in logged:
                _log_trial(client, experiment, parent.info.run_id, outcome["study"], trial)
        importances = {f"importance_{key}": value for key, value in outcome["importances"].items()}
        _log_new(client, parent, {"best_score": outcome["best"]["score"], **importances})
        _set_tags(client, parent, {"chosen": outcome["chosen"], "values": json.dumps(outcome["values"])})
        client.set_terminated(parent.info.run_id)


def _log_trial(client: "MlflowClient", experiment: str, parent: str, study: str, trial: Mapping[str, Any]) -> None:
    from mlflow.entities import Param

    number = str(trial["number"])
    tags = {"mlflow.parentRunId": parent, "study": study, "trial": number, "state": trial["state"], "status": "tuning"}
    if "failure" in trial:
        tags["failure"] = trial["failure"]
    run_id = client.create_run(experiment, run_name=f"trial {number}", tags=tags).info.run_id
    scores = [metric for epoch, score in enumerate(trial["epochs"], 1) for metric in _metrics({"score": score}, epoch)]
    if trial["score"] is not None:
        scores += _metrics({"best_score": trial["score"]}, 0)
    params = [Param(name, str(value)) for name, value in trial["values"].items()]
    client.log_batch(run_id, metrics=scores, params=params)
    client.set_terminated(run_id, "FAILED" if trial["state"] == "failed" else "FINISHED")


def page(task: str) -> str:
    """Where the UI lists the task's current runs: the part of the address after the host.

    Raises:
        InputError: the tracking store cannot be used.
    """
    with _client() as client:
        query = urlencode({"workflowType": "machine_learning", "searchFilter": CURRENT}, quote_via=quote)
        return f"/#/experiments/{_experiment(client, task)}/runs?{query}"


@contextmanager
def _client() -> Iterator["MlflowClient"]:
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
        raise InputError(f"the tracking store {store.uri()} cannot be used ({_one_line(error)}): {advice}") from error


def _choose(uri: str) -> None:
    import mlflow

    given = store.is_server()
    mlflow.set_tracking_uri(uri)
    if not given:
        # MLflow put it there, where it would look like the user's choice
        os.environ.pop(store.SERVER, None)


def _experiment(client: "MlflowClient", task: str) -> str:
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


def _runs(client: "MlflowClient", experiment: str) -> "list[Run]":
    """All runs, the latest first."""
    return list(client.search_runs([experiment], max_results=50_000, order_by=["start_time DESC"]))


def _unfinished_run(client: "MlflowClient", experiment: str, identity: Identity) -> "Run | None":
    """The run that a killed training left behind; a finished one (trained again by force) is superseded."""
    earlier = matching.earlier(_runs(client, experiment), identity)
    left = [run for run in earlier if run.info.status != "FINISHED"][:1]
    for run in earlier:
        if run not in left:
            _set_tags(client, run, {"status": "superseded"})
    return left[0] if left else None


def _new_run(client: "MlflowClient", experiment: str, identity: Identity) -> "Run":
    return client.create_run(experiment, run_name=f"{identity.variant}-{identity.seed}")


def _rebuild(client: "MlflowClient", experiment: str, each: Finished) -> "Run":
    """Make a run from DVC's outputs."""
    run = _new_run(client, experiment, each.identity)
    run_id = run.info.run_id
    _describe(client, run_id, each.identity, {"record": "rebuilt"})
    metrics = [
        metric
        for row in each.curves.to_dict("records")
        for metric in _metrics({str(name): row[name] for name in row if name != "epoch"}, int(row["epoch"]))
    ]
    for start in range(0, len(metrics), _BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + _BATCH])
    client.log_artifact(run_id, str(each.model), "model")
    client.set_terminated(run_id)
    return run


def _describe(client: "MlflowClient", run_id: str, identity: Identity, tags: Mapping[str, str]) -> None:
    """Record what was trained on what; a second time changes nothing."""
    from mlflow.entities import DatasetInput, InputTag, Param, RunTag

    config = {**dataclasses.asdict(identity.config), "seed": identity.seed}
    known = {
        "task": identity.task,
        "variant": identity.variant,
        "seed": str(identity.seed),
        "fingerprint": identity.fingerprint,
        "data_hash": identity.data_hash,
        "initialisation": origin.read(identity.task, identity.variant).initialisation,
        "status": "current",
    }
    client.log_batch(
        run_id,
        params=[Param(name, str(value)) for name, value in config.items()],
        tags=[RunTag(name, value) for name, value in {**known, **tags}.items()],
    )
    dataset = DatasetInput(_dataset(identity), [InputTag("mlflow.data.context", "training")])
    client.log_inputs(run_id, [dataset])


def _dataset(identity: Identity) -> Any:
    from mlflow.entities import Dataset

    splits = files.read_json(paths.balance(identity.task))["splits"]
    return Dataset(
        name=identity.task,
        digest=identity.data_hash[:36],  # as long as MLflow takes it
        source_type="local",
        source=json.dumps({"uri": str(paths.balance_manifest(identity.task))}),
        profile=json.dumps(splits),
    )


def _log_new(client: "MlflowClient", run: "Run", values: Mapping[str, float]) -> None:
    new = {name: value for name, value in values.items() if run.data.metrics.get(name) != value}
    if new:
        client.log_batch(run.info.run_id, metrics=_metrics(new, step=0))


def _set_tags(client: "MlflowClient", run: "Run", tags: Mapping[str, str]) -> None:
    for name, value in tags.items():
        if run.data.tags.get(name) != value:
            client.set_tag(run.info.run_id, name, value)


def _metrics(values: Mapping[str, Any], step: int) -> "list[Metric]":
    from mlflow.entities import Metric

    now = int(1000 * time.time())
    return [Metric(name, float(value), now, step) for name, value in values.items() if math.isfinite(value)]


def _signature(input_shape: Sequence[int | None], output_shape: Sequence[int | None]) -> "ModelSignature":
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    given, returned = (
        Schema([TensorSpec(np.dtype("float32"), tuple(-1 if size is None else size for size in shape))])
        for shape in (input_shape, output_shape)
    )
    return ModelSignature(inputs=given, outputs=returned)


def _requirements() -> list[str]:
    """What a server of the model installs; without it MLflow would load the model to find out, for 10 s."""
    installed = {each.name: each.version for each in importlib.metadata.distributions()}
    wanted = ("keras", "numpy", "tensorflow", "tensorflow-cpu", "jax")
    return [f"{name}=={installed[name]}" for name in wanted if name in installed]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
