"""Real shared services: a search and trainings on PostgreSQL and an MLflow server, with a worker killed.

Needs PostgreSQL's server (Debian: `apt-get install postgresql`) and the extra `team`: `make test-services`.
"""

import getpass
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from terracyte import params, tracking
from terracyte.core import files, paths
from terracyte.params import row
from terracyte.tracking import store
from terracyte.tracking.run_matching import Finished
from terracyte.tune import study as tuning
from terracyte.tune import trial as trials
from tests import balanced_project
from tests.conftest import ROOT, Edit, wait_for

mlflow = pytest.importorskip("mlflow")

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("balanced")]

TRIALS, WORKERS = 24, 4


def find_server() -> Path:
    """Return the folder of PostgreSQL's programs: Debian keeps them out of PATH."""
    named = shutil.which("initdb")
    folders = [Path(named).resolve().parent] if named else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders or importlib.util.find_spec("pg8000") is None:
        pytest.skip("PostgreSQL's server or pg8000 is not installed")
    return folders[-1]


def as_server(command: Sequence[str]) -> list[str]:
    """Return the command, run as user `postgres` if this is root: PostgreSQL refuses to be started by root."""
    return ["runuser", "-u", "postgres", "--", *command] if getpass.getuser() == "root" else list(command)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Postgres:
    """A PostgreSQL server of its own, with its files in a folder."""

    def __init__(self, folder: Path) -> None:
        self._programs, self._port, self._folder = find_server(), free_port(), folder
        self._run("initdb", "-D", "data", "-A", "trust", "-U", "terracyte")
        self.start()

    def start(self) -> None:
        options = f"-p {self._port} -k {self._folder} -c listen_addresses=127.0.0.1"
        self._run("pg_ctl", "-D", "data", "-o", options, "-w", "-l", "log", "start")

    def stop(self) -> None:
        """Stop the server as in a crash: connections break, and nothing more is written."""
        self._run("pg_ctl", "-D", "data", "-m", "immediate", "stop")

    def create(self, name: str) -> str:
        """Create a database and return its address."""
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self._port), "-U", "terracyte", name)
        return f"postgresql+pg8000://terracyte@127.0.0.1:{self._port}/{name}"

    def _run(self, program: str, *arguments: str) -> None:
        command = as_server([str(self._programs / program), *arguments])
        subprocess.run(command, check=True, cwd=self._folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    folder = Path(tempfile.mkdtemp(prefix="terracyte-pg-"))
    if getpass.getuser() == "root":
        shutil.chown(folder, "postgres")
    server = Postgres(folder)
    yield server
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture
def balanced(project: Path, edit: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    balanced_project.write(project)
    edit("tune.mars.trials", TRIALS)
    edit("compute.workers", WORKERS)


@pytest.fixture
def server(postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Start an MLflow server whose record is in PostgreSQL; yield the folder where it keeps artifacts."""
    port, folder = free_port(), tmp_path / "artifacts"
    backend = postgres.create(f"mlflow_{port}")  # one per test: all tests share the PostgreSQL server
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", backend, "--workers", "1"]
    command += ["--artifacts-destination", str(folder), "--host", "127.0.0.1", "--port", str(port)]
    address = f"http://127.0.0.1:{port}"
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def answers() -> bool:
        assert process.poll() is None, (tmp_path / "server.log").read_text()
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    wait_for(answers)
    monkeypatch.setenv(store.SERVER, address)
    yield folder
    os.killpg(process.pid, signal.SIGTERM)
    process.wait()


def start(*command: str) -> "subprocess.Popen[bytes]":
    with Path(f"{command[-1]}.log").open("w") as log:
        return subprocess.Popen([sys.executable, "-m", *command], stdout=log, stderr=log)


def workers_of(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    """Return the child processes that train."""
    children = psutil.Process(process.pid).children()
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def reconcile(variant: str) -> None:
    """Reconcile the record as the report does, for a row of one seed."""
    (identity,) = row.read("mars", variant).identities
    curves = pd.read_csv(paths.curves("mars", variant)).drop(columns="seed")
    model = paths.model("mars", variant, identity.seed)
    tracking.reconcile("mars", [Finished(identity=identity, title="", curves=curves, summary={}, model=model)])


def disconnect(study: tuning.Study) -> None:
    """Close the study's connections: else their warning would fail the next test that collects garbage."""
    study._study._storage._backend.engine.dispose()  # type: ignore[attr-defined]


def test_four_workers_on_one_database_of_which_one_is_killed(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(tuning.STORAGE, postgres.create("studies"))
    search = start("stages.tune", "mars")
    wait_for(lambda: len(workers_of(search)) == WORKERS or search.poll() is not None)
    study = trials.open_study(params.load(), "mars")
    wait_for(lambda: len(study.trials()) >= 3 or search.poll() is not None)
    workers_of(search)[1].kill()
    assert search.wait() == 0, Path("mars.log").read_text()

    found = study._study.get_trials(deepcopy=False)
    disconnect(study)
    assert all(each.state.is_finished() for each in found)
    jobs = Counter(each.user_attrs["job"] for each in found)
    assert jobs == dict.fromkeys(range(TRIALS), 1)
    outcome = files.read_json(paths.tuning("mars"))
    assert [trial["number"] for trial in outcome["trials"]] == list(range(TRIALS))
    assert {trial["state"] for trial in outcome["trials"]} <= {"complete", "pruned"}
    assert not list(paths.CHECKPOINTS.iterdir())


def test_trainings_side_by_side_are_recorded_by_a_server(server: Path) -> None:
    trained = [start("stages.train", name) for name in ("mars-unet_1", "mars-unet_final")]
    assert [each.wait() for each in trained] == [0, 0]
    client = mlflow.MlflowClient(os.environ[store.SERVER])
    (experiment,) = client.search_experiments(filter_string="name = 'mars'")
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name for run in runs) == ["mars-unet_1-0", "mars-unet_final-0"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    # the model was uploaded through the server: this process does not know its folder
    assert experiment.artifact_location.startswith("mlflow-artifacts:")
    assert len(list(server.rglob("*.keras"))) == 2
    assert not (paths.mlflow() / "mlflow.db").exists()


def test_a_training_outlives_the_database_and_the_report_completes_its_record(
    postgres: Postgres, server: Path, edit: Edit
) -> None:
    edit("variants.mars-unet_1.change.epochs", 100)  # takes some seconds
    balanced_project.configure()
    client = mlflow.MlflowClient(os.environ[store.SERVER])

    def runs() -> list[Any]:
        found = client.get_experiment_by_name("mars")
        return list(client.search_runs([found.experiment_id])) if found else []

    def epochs(run: Any) -> list[int]:
        return [metric.step for metric in client.get_metric_history(run.info.run_id, "loss")]

    training = start("stages.train", "mars-unet_1")
    wait_for(lambda: training.poll() is not None or (runs() and epochs(runs()[0])))
    postgres.stop()
    try:
        assert training.wait() == 0, Path("mars-unet_1.log").read_text()
    finally:
        postgres.start()
    said = [line for line in Path("mars-unet_1.log").read_text().splitlines() if line.startswith("warning")]
    assert len(said) == 1
    assert "training continues, and the stage report will record it" in said[0]
    (broken,) = runs()
    trained = pd.read_csv(paths.curves("mars", "mars-unet_1"))["epoch"].tolist()
    assert len(epochs(broken)) < len(trained)

    reconcile("mars-unet_1")
    whole = next(run for run in runs() if run.data.tags["status"] == "current")
    assert whole.info.status == "FINISHED"
    assert sorted(epochs(whole)) == trained


def test_a_project_moves_to_shared_services_and_nothing_is_searched_twice(
    postgres: Postgres, server: Path, edit: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = os.environ[store.SERVER]
    monkeypatch.delenv(store.SERVER)
    edit("tune.mars.trials", 4)
    edit("compute.workers", 1)
    assert start("stages.tune", "mars").wait() == 0, Path("mars.log").read_text()
    assert start("stages.train", "mars-unet_1").wait() == 0, Path("mars-unet_1.log").read_text()
    outcome, local = files.read_json(paths.tuning("mars")), trials.open_study(params.load(), "mars")

    monkeypatch.setenv(store.SERVER, address)
    monkeypatch.setenv(tuning.STORAGE, postgres.create("moved"))
    moved = trials.open_study(params.load(), "mars")
    assert moved.trials() == local.trials()
    assert moved.pending(4) == []
    disconnect(moved)
    assert start("stages.tune", "mars").wait() == 0, Path("mars.log").read_text()
    assert files.read_json(paths.tuning("mars")) == outcome

    reconcile("mars-unet_1")
    client = mlflow.MlflowClient(address, address)
    runs = client.search_runs([client.get_experiment_by_name("mars").experiment_id])
    names = Counter(run.info.run_name for run in runs)
    assert names == Counter(["mars-unet_1-0", f"tuning {moved.name}", *(f"trial {n}" for n in range(4))])
    assert len(list(server.rglob("*.keras"))) == 1
