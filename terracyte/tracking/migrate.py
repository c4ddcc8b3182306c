"""Moves MLflow's record and Optuna's studies from this project's own files to a team's services.

python -m terracyte.tracking.migrate --to http://127.0.0.1:5000 [--studies postgresql+pg8000://...]

Runs with parameters, metrics, tags, data sets, files and models, the registry with its aliases, and the studies. One
that was killed goes on where it was; a second one changes nothing. At the end both sides are compared. What lies here
stays.
"""

import argparse
import os

from terracyte.core import paths
from terracyte.core.errors import InputError, guarded
from terracyte.tracking import migration, store
from terracyte.tune import study


def main() -> None:
    """Migrate, and say what is there now."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", metavar="ADDRESS", help=f"the MLflow server (default: ${store.SERVER})")
    parser.add_argument("--studies", metavar="ADDRESS", help=f"the database of studies (default: ${study.STORAGE})")
    arguments = parser.parse_args()
    server = arguments.to or os.environ.get(store.SERVER)
    studies = arguments.studies or os.environ.get(study.STORAGE)
    if not server and not studies:
        raise InputError(f"there is nowhere to migrate to: name a server with --to, or set {store.SERVER}")
    if server:
        record(server)
    if studies:
        search(studies)


def record(server: str) -> None:
    """Copy runs, models and registry to an MLflow server.

    Raises:
        InputError: there is no record here, the server cannot be used, or the copy lacks something.
    """
    if not (paths.MLFLOW / "mlflow.db").exists():
        raise InputError(f"{paths.MLFLOW} holds no record: there is nothing to migrate; `make ui` rebuilds it from DVC")
    os.environ.pop(store.SERVER, None)  # the project's own store is what is read
    for line in migration.migrate(server):
        print(line)


def search(database: str) -> None:
    """Copy all studies to a database.

    Raises:
        InputError: the database cannot be used, or holds other trials.
    """
    for journal in sorted(paths.STUDIES.glob("*.journal")):
        here, there = study.migrate(journal.stem, database)
        if there < here:
            raise InputError(f"study {journal.stem} has {there} of {here} trials there: run the same command again")
        print(f"study {journal.stem}: {there} trials")


if __name__ == "__main__":
    guarded(main)
