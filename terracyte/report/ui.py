"""`terracyte ui`: bring MLflow's record up to date with DVC's outputs, then open it on 127.0.0.1."""

import os
import sys
from collections.abc import Iterator

from terracyte import params, tasks
from terracyte.core.errors import InputError
from terracyte.params import Params
from terracyte.report import champions, records, runs
from terracyte.report.views import CURRENT_RUNS, published
from terracyte.tasks.task import Task
from terracyte.tracking import store, views

_HOST, _PORT = "127.0.0.1", 5000


def main() -> None:
    """Reconcile what can be, say where the current runs are listed, and become MLflow's server."""
    settings = params.load()
    server = store.uri() if store.uri().startswith("http") else None
    for name in settings.task_names:
        for what, page in _pages(tasks.make(name, settings), settings):
            print(f"{name}, {what}: {server or f'http://{_HOST}:{_PORT}'}{page}", flush=True)
    if server is None:
        command = ["mlflow", "ui", "--backend-store-uri", store.uri(), "--host", _HOST, "--port", str(_PORT)]
        os.execv(sys.executable, [sys.executable, "-m", *command, "--workers", "1"])


def _pages(task: Task, settings: Params) -> Iterator[tuple[str, str]]:
    """What the UI shows where; whatever is not finished yet leaves the record as it is."""
    try:
        gathered = records.gather(task, settings)
        runs.reconcile(task, gathered)
        champions.register(task)
        runs.log_report(task)
    except InputError as error:
        print(f"{task.name}: the record may be out of date: {error}", file=sys.stderr)
        gathered = []
    yield "current runs", views.page(task.name, CURRENT_RUNS)
    if page := views.comparison(task.name, published(gathered)):
        yield "the published steps side by side", page
