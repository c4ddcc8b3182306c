"""Runs of trainings: live recording while training, and reconciliation with DVC's outputs."""

import dataclasses
import json
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from terracyte.core import files, git, paths
from terracyte.core.errors import InputError
from terracyte.core.hashing import TRAINING, code_hash
from terracyte.params.row import Identity, Row
from terracyte.tracking import run_matching
from terracyte.tracking.client import (
    all_runs,
    as_metrics,
    connected,
    experiment_id,
    log_new,
    one_line,
    set_tags,
    terminate,
)
from terracyte.tracking.models import log_keras
from terracyte.tracking.run_matching import Finished

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

# Where a recorded training ran: in this process, or on a cluster and was recorded afterwards.
LIVE, CLUSTER = "live", "cluster"

_BATCH = 1000  # most metrics that MLflow accepts per request
_PAUSE = 20  # pause after a failed request, in multiples of its duration: a dead server slows a training by 5 % at most


class LiveRun:
    """The record of a running training; MLflow's errors are reported once and never stop the training.

    Args:
        run: the active run; None if the store cannot be used, so that nothing is recorded.
        logged_epochs: epochs that the run already holds.
    """

    def __init__(self, run: "Run | None", logged_epochs: Iterable[int] = ()) -> None:
        self.run = run
        self._complete = True
        self._logged_epochs = set(logged_epochs)
        self._paused_until = 0.0

    def log_epoch(self, epoch: int, values: Mapping[str, float]) -> None:
        """Record an epoch's metrics, unless the run already holds the epoch.

        Args:
            epoch: the epoch's number, counted from 1.
            values: metrics by name.
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
        """Record a Keras model with one input and one output, with their shapes as its signature."""
        self._attempt(lambda: log_keras(model))

    def end(self, status: str) -> None:
        """End the run; an incomplete record ends as FAILED, so that `reconcile` creates a complete one."""
        import mlflow

        if (run := self.run) is None:
            return
        self._paused_until = 0.0
        ended = status if self._complete else "FAILED"
        self._attempt(lambda: mlflow.end_run(ended))
        self._attempt(lambda: terminate(mlflow.MlflowClient(), run, ended))  # fixes the end after a clock change

    def _attempt(self, action: Callable[[], object]) -> None:
        start = time.monotonic()
        if self.run is None or start < self._paused_until:
            return
        try:
            action()
        # any error of store, network or disk: the training is worth more than its record
        except Exception as error:
            if self._complete:
                what = "training continues, and the stage report will record it"
                print(f"warning: MLflow failed ({one_line(error)}); {what}", file=sys.stderr)
            self._complete = False
            end = time.monotonic()
            self._paused_until = end + _PAUSE * (end - start)


@contextmanager
def training_run(
    identity: Identity, title: str, record: str = LIVE, *, required: bool = True, status: str = "FINISHED"
) -> Iterator[LiveRun]:
    """Record a training while it runs; a training resumed after a kill continues the same run.

    Args:
        identity: the training's row and seed; `metrics/<task>/balance.json` describes its data.
        title: description of its variant in a few words.
        record: `LIVE`, or `CLUSTER` for a training that ended elsewhere.
        required: whether an unusable store is an error; otherwise a warning is printed, and `report` creates the run.
        status: status of the run after the block: "RUNNING" if another process continues it.

    Raises:
        InputError: the tracking store cannot be used, and is required.
    """
    try:
        live = _begin(identity, title, record)
    except (InputError, OSError) as error:
        if required:
            raise
        what = f"{identity.variant} seed {identity.seed}: {error}"
        print(f"warning: {what}; the stage report will record it", file=sys.stderr)
        live = LiveRun(None)
    try:
        yield live
    except BaseException as error:
        live.end("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    live.end(status)


def _begin(identity: Identity, title: str, record: str) -> LiveRun:
    with connected() as client:
        import mlflow

        experiment = experiment_id(client, identity.task)
        run = _unfinished_run(client, experiment, identity) or _new_run(client, experiment, identity)
        run_id = run.info.run_id
        tags = {"record": record, "code": code_hash(*TRAINING), "mlflow.note.content": title, **git.tags()}
        _describe(client, run_id, identity, tags)
        logged = [metric.step for metric in client.get_metric_history(run_id, "loss")]
        # from here on MLflow's fluent API: only it records system metrics during the run
        logging.getLogger("mlflow.system_metrics").setLevel(logging.CRITICAL)  # its warnings repeat ours
        mlflow.start_run(run_id, log_system_metrics=record == LIVE)
    return LiveRun(run, logged)


def has_finished(row: Row) -> bool:
    """Return whether the store has a finished run by the current training code for each of the row's seeds.

    Raises:
        InputError: the tracking store cannot be used.
    """
    with connected() as client:
        runs = all_runs(client, experiment_id(client, row.task))
    code = code_hash(*TRAINING)
    done = [run for run in runs if run.info.status == "FINISHED" and run.data.tags.get("code") == code]
    return all(any(run_matching.is_of(run, each) for run in done) for each in row.identities)


def check(task: str) -> None:
    """Check that the store can record a training of the task, before hours are spent on the training.

    Raises:
        InputError: the tracking store cannot be used.
    """
    with connected() as client:
        experiment_id(client, task)


def reconcile(task: str, finished: Sequence[Finished]) -> dict[tuple[str, int], str]:
    """Make the task's experiment hold exactly one current run per finished training; idempotent.

    A run that the store lacks (fresh clone, training done elsewhere, wiped store) is created from DVC's outputs.
    Test scores are added where they are missing or differ. All other runs become `status: superseded`, except
    runs in progress for a variant and seed that `finished` lacks.

    Returns:
        The id of the current run of each (variant, seed).

    Raises:
        InputError: the tracking store cannot be used, or a model is missing from which a run must be created.
    """
    with connected() as client:
        experiment = experiment_id(client, task)
        runs = [run for run in all_runs(client, experiment) if "fingerprint" in run.data.tags]
        current = {}
        for each in finished:
            run = run_matching.find_finished(runs, each) or _rebuild(client, experiment, each)
            # the UI's searches find trainings by these tags
            published = "no" if each.published is None else str(each.published)
            set_tags(client, run, {"status": "current", "published": published, "mlflow.note.content": each.title})
            log_new(client, run, each.summary)
            current[each.identity.variant, each.identity.seed] = run.info.run_id
        for run in runs:
            of = run.data.tags["variant"], int(run.data.tags["seed"])
            under_way = run.info.status == "RUNNING" and of not in current
            if run.info.run_id not in current.values() and not under_way:
                set_tags(client, run, {"status": "superseded"})
    return current


def _unfinished_run(client: "MlflowClient", experiment: str, identity: Identity) -> "Run | None":
    """Return the run of a killed training, or None; other current runs (as of a forced repeat) become superseded."""
    ours = [run for run in all_runs(client, experiment) if run_matching.is_of(run, identity)]
    current = [run for run in ours if run.data.tags.get("status") == "current"]
    # the training code must be the same, too, as for checkpoints: other code starts over
    code = code_hash(*TRAINING)
    started = [run for run in current if run.info.status != "FINISHED" and run.data.tags.get("code") == code][:1]
    for run in current:
        if run not in started:
            set_tags(client, run, {"status": "superseded"})
    return started[0] if started else None


def _new_run(client: "MlflowClient", experiment: str, identity: Identity) -> "Run":
    return client.create_run(experiment, run_name=f"{identity.variant}-{identity.seed}")


def _rebuild(client: "MlflowClient", experiment: str, each: Finished) -> "Run":
    """Create a finished run from DVC's outputs."""
    if not each.model.exists():
        why = f"run `dvc pull`, or `dvc repro train@{each.identity.variant}`"
        raise InputError(f"{each.model} is missing, as in a fresh clone: {why}")
    run = _new_run(client, experiment, each.identity)
    run_id = run.info.run_id
    _describe(client, run_id, each.identity, {"record": "rebuilt"})
    metrics = [
        metric
        for row in each.curves.to_dict("records")
        for metric in as_metrics({str(name): row[name] for name in row if name != "epoch"}, int(row["epoch"]))
    ]
    for start in range(0, len(metrics), _BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + _BATCH])
    client.log_artifact(run_id, str(each.model), "model")
    terminate(client, run)
    return run


def _describe(client: "MlflowClient", run_id: str, identity: Identity, tags: Mapping[str, str]) -> None:
    """Record the configuration, tags and data set of a training; idempotent."""
    from mlflow.entities import DatasetInput, InputTag, Param, RunTag

    config = {**dataclasses.asdict(identity.config), "seed": identity.seed}
    known = {
        "task": identity.task,
        "variant": identity.variant,
        "seed": str(identity.seed),
        "fingerprint": identity.fingerprint,
        "data_hash": identity.row.data_hash,
        "initialisation": identity.start.initialisation,
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

    splits = files.read_json(paths.balance(identity.task), {"splits": dict})["splits"]
    return Dataset(
        name=identity.task,
        digest=identity.row.data_hash[:36],  # the longest digest that MLflow accepts
        source_type="local",
        source=json.dumps({"uri": str(paths.balance_manifest(identity.task))}),
        profile=json.dumps(splits),
    )
