"""`make ui`: bring MLflow's record up to date with DVC's outputs, then open it on 127.0.0.1."""

import os
import sys

from terracyte import params, store, tasks, tracking
from terracyte.errors import InputError, guarded
from terracyte.reporting import champions, records, runs

_HOST, _PORT = "127.0.0.1", 5000


def main() -> None:
    """Reconcile what can be, say where the current runs are listed, and become MLflow's server."""
    settings = params.load()
    server = store.uri() if store.uri().startswith("http") else None
    for name in params.TASKS:
        task = tasks.make(name, settings)
        try:
            runs.reconcile(task, records.gather(task, settings))
            champions.register(task)
        except InputError as error:
            print(f"{name}: the record may be out of date: {error}", file=sys.stderr)
        print(f"{name}: {server or f'http://{_HOST}:{_PORT}'}{tracking.page(name)}", flush=True)
    if server is None:
        command = ["mlflow", "ui", "--backend-store-uri", store.uri(), "--host", _HOST, "--port", str(_PORT)]
        os.execv(sys.executable, [sys.executable, "-m", *command, "--workers", "1"])


if __name__ == "__main__":
    guarded(main)
