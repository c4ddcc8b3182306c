"""Logs searches as runs, with their trials as nested runs."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from terracyte.tracking.client import all_runs, as_metrics, connected, experiment_id, log_new, set_tags, terminate

if TYPE_CHECKING:
    from mlflow import MlflowClient


def log_study(task: str, outcome: Mapping[str, Any]) -> None:
    """Log a search as a run of the task's experiment, and its trials as nested runs; idempotent.

    Other searches become `status: superseded`.

    Args:
        task: the task that was tuned.
        outcome: the return value of `search.search`; if it has no trials, nothing is logged.

    Raises:
        InputError: the tracking store cannot be used.
    """
    if not outcome["trials"]:
        return
    with connected() as client:
        experiment = experiment_id(client, task)
        known = [run for run in all_runs(client, experiment) if "study" in run.data.tags]
        # trials whose recording was interrupted by a lost store or process; they are logged again
        halves = [run for run in known if "trial" in run.data.tags and run.info.status == "RUNNING"]
        ours = [run for run in known if run.data.tags["study"] == outcome["study"] and run not in halves]
        for run in known:
            set_tags(client, run, {"status": "tuning" if run in ours else "superseded"})
        parent = next((run for run in ours if "trial" not in run.data.tags), None)
        if parent is None:
            tags = {"study": outcome["study"], "variant": outcome["variant"], "status": "tuning"}
            parent = client.create_run(experiment, run_name=f"tuning {outcome['study']}", tags=tags)
        logged = {run.data.tags.get("trial") for run in ours}
        for trial in outcome["trials"]:
            if str(trial["number"]) not in logged:
                _log_trial(client, experiment, parent.info.run_id, outcome["study"], trial)
        importances = {f"importance_{key}": value for key, value in outcome["importances"].items()}
        log_new(client, parent, {"best_score": outcome["best"]["score"], **importances})
        set_tags(client, parent, {"chosen": outcome["chosen"], "values": json.dumps(outcome["values"])})
        terminate(client, parent)


def _log_trial(client: "MlflowClient", experiment: str, parent: str, study: str, trial: Mapping[str, Any]) -> None:
    from mlflow.entities import Param

    number = str(trial["number"])
    tags = {"mlflow.parentRunId": parent, "study": study, "trial": number, "state": trial["state"], "status": "tuning"}
    if "failure" in trial:
        tags["failure"] = trial["failure"]
    run = client.create_run(experiment, run_name=f"trial {number}", tags=tags)
    epochs = enumerate(trial["epochs"], 1)
    scores = [metric for epoch, score in epochs for metric in as_metrics({"score": score}, epoch)]
    if trial["score"] is not None:
        scores += as_metrics({"best_score": trial["score"]}, 0)
    params = [Param(name, str(value)) for name, value in trial["values"].items()]
    client.log_batch(run.info.run_id, metrics=scores, params=params)
    terminate(client, run, "FAILED" if trial["state"] == "failed" else "FINISHED")
