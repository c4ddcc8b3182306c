"""`terracyte ui`: bring MLflow's record up to date with DVC's outputs, then serve it."""

import json
import os
import sys
from collections.abc import Sequence
from urllib.parse import quote, urlencode

from terracyte import params, tasks
from terracyte.core import listening, processes
from terracyte.core.errors import InputError, masked
from terracyte.params import Params
from terracyte.report import champions, records, runs
from terracyte.tasks.task import Task
from terracyte.tracking import store
from terracyte.tracking.client import connected, experiment_id


def main(host: str, port: int) -> None:
    """Reconcile what is finished, print the UI's addresses, and serve the UI unless the tracking store is a server.

    Raises:
        InputError: the parameters are malformed, host, port or tracking store cannot be used, or the server fails.
    """
    settings = params.load()
    server = store.uri() if store.uri().startswith("http") else None
    if server and host != listening.HOST:
        raise InputError(f"--host has no use here: the record is on the server {masked(server)}, which has the UI")
    if server is None:
        # checked here: if the port is in use, MLflow's message is unspecific and its exit code is 0
        with listening.listen(host, port) as free:
            port = free.getsockname()[1]  # port 0 stands for any free one
    for task in (tasks.make(name, settings) for name in settings.task_names):
        published = _reconcile(task, settings)
        with connected() as client:
            experiment = experiment_id(client, task.name)
        for what, page in pages(task, experiment, published).items():
            where = masked(server) if server else listening.address(host, port)
            print(f"{task.name}, {what}: {where}{page}", flush=True)
    if server is None:
        _serve(host, port)


def _serve(host: str, port: int) -> None:
    """Run MLflow's server until this process ends.

    The server is given the host names that requests may use: its default ones are patterns such as `10.*`, which
    `10.evil.example` matches.
    """
    listening.warn(host)
    hosts = [f"{name}:{port}" for name in listening.names(host)]
    origins = [f"http://{name}" for name in hosts]
    command = ["mlflow", "ui", "--host", host, "--port", str(port)]
    allowed = ["--allowed-hosts", ",".join(hosts), "--cors-allowed-origins", ",".join(origins)]
    # not an option: the list of processes shows options to everyone, and the address may hold a password
    environment = {**os.environ, "MLFLOW_BACKEND_STORE_URI": store.uri()}
    command = [sys.executable, "-m", *command, *allowed, "--workers", "1"]
    code = processes.call(command, environment=environment)
    if code:
        raise InputError(f"`mlflow ui` ended with exit code {code}: see its messages above")


def pages(task: Task, experiment: str, published: Sequence[str]) -> dict[str, str]:
    """Return addresses in MLflow's UI, without the host, by what they show.

    Search and order are part of an address. Columns are not: MLflow 3.17 keeps them in the browser.

    Args:
        task: the task whose runs are shown.
        experiment: the id of the task's experiment in MLflow.
        published: ids of the runs to show side by side; fewer than two are not compared.
    """
    current = "tags.status = 'current' AND tags.fingerprint != ''"
    found = {
        "current runs": _runs(experiment, current, f"test_{task.headline}"),
        "searches": _runs(experiment, "tags.status = 'tuning'", "best_score"),
    }
    if len(published) > 1:
        compared = {"runs": json.dumps(published), "experiments": json.dumps([experiment])}
        found["the published steps side by side"] = f"/#/compare-runs?{urlencode(compared, quote_via=quote)}"
    return found


def _runs(experiment: str, search: str, metric: str) -> str:
    """Return the address of charts of an experiment's runs that a search finds, highest metric first."""
    query = {
        "workflowType": "machine_learning",  # otherwise the side menu is the one for language models
        "searchFilter": search,
        "orderByKey": f"metrics.`{metric}`",
        "orderByAsc": "false",
        "compareRunsMode": "CHART",  # the list shows no metrics
    }
    return f"/#/experiments/{experiment}/runs?{urlencode(query)}"


def _reconcile(task: Task, settings: Params) -> list[str]:
    """Bring the record up to date; if that fails, as with an unfinished training, print why and go on.

    Returns:
        Ids of the runs of variants that have a published score; none after a failure.
    """
    try:
        gathered = records.gather(task, settings)
        current = runs.reconcile(task, gathered)
        champions.register(task)
        runs.log_report(task)
    except InputError as error:
        print(f"{task.name}: the record may be out of date: {error}", file=sys.stderr)
        return []
    published = {record.name for record in gathered if record.variant.published is not None}
    return [run for (variant, _), run in current.items() if variant in published]
