"""`make ui`: bring MLflow's record up to date with DVC's outputs, then open it on 127.0.0.1."""

import os
import sys

from terracyte import params, store, tasks
from terracyte.errors import InputError, guarded
from terracyte.reporting import records, runs


def main() -> None:
    """Reconcile what can be, and become MLflow's server."""
    settings = params.load()
    for name in params.TASKS:
        task = tasks.make(name, settings)
        try:
            runs.reconcile(task, records.gather(task, settings))
        except InputError as error:
            print(f"{name}: the record may be out of date: {error}", file=sys.stderr)
    if store.is_server():
        print(f"MLFLOW_TRACKING_URI names the record: {store.uri()}")
        return
    store.prepare()
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", *_arguments()])


def _arguments() -> list[str]:
    return ["ui", "--backend-store-uri", store.uri(), "--host", "127.0.0.1", "--port", "5000"]


if __name__ == "__main__":
    guarded(main)
