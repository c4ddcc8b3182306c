"""Shared services for real: a search and trainings on PostgreSQL and an MLflow server, with a worker killed.

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
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

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
from tests.conftest import ROOT, Edit

mlflow = pytest.importorskip("mlflow")

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("balanced")]

TRIALS, WORKERS = 24, 4


def find_server() -> Path:
    """The folder of PostgreSQL's programs: Debian keeps them out of PATH."""
    named = shutil.which("initdb")
    folders = [Path(named).resolve().parent] if named else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders or importlib.util.find_spec("pg8000") is None:
        pytest.skip("PostgreSQL's server or pg8000 is not installed")
    return folders[-1]


def as_server(command: Sequence[str]) -> list[str]:
    """PostgreSQL refuses to be started by root."""
    return ["runuser", "-u", "postgres", "--", *command] if getpass.getuser() == "root" else list(command)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def database() -> Iterator[Callable[[str], str]]:
    """A PostgreSQL server of its own; the address of a new database by its name."""
    programs, port = find_server(), free_port()
    folder = Path(tempfile.mkdtemp(prefix="terracyte-pg-"))
    if getpass.getuser() == "root":
        shutil.chown(folder, "postgres")
    data, options = str(folder / "data"), f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"

    def run(program: str, *arguments: str) -> None:
        command = as_server([str(programs / program), *arguments])
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    run("initdb", "-D", data, "-A", "trust", "-U", "terracyte")
    run("pg_ctl", "-D", data, "-o", options, "-w", "-l", str(folder / "log"), "start")

    def create(name: str) -> str:
        run("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "terracyte", name)
        return f"postgresql+pg8000://terracyte@127.0.0.1:{port}/{name}"

    yield create
    run("pg_ctl", "-D", data, "-m", "immediate", "stop")
    shutil.rmtree(folder)


@pytest.fixture
def balanced(project: Path, edit: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    balanced_project.write(project)
    edit("tune.mars.trials", TRIALS)
    edit("compute.workers", WORKERS)


@pytest.fixture
def server(database: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An MLflow server whose record is in PostgreSQL; the folder where it keeps artifacts."""
    port, folder = free_port(), tmp_path / "artifacts"
    backend = database(f"mlflow_{port}")  # each test its own: they share the PostgreSQL server
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
    """Its processes that train."""
    children = psutil.Process(process.pid).children()
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def disconnect(study: tuning.Study) -> None:
    """Close its connections: the next test to collect garbage would be blamed for them."""
    study._study._storage._backend.engine.dispose()  # type: ignore[attr-defined]


def test_four_workers_on_one_database_of_which_one_is_killed(
    database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(tuning.STORAGE, database("studies"))
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
    assert sorted(run.info.run_name for run in runs) == ["mars-unet_final-0", "mars-unet_1-0"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    # the model went through the server: this process knows no folder of it
    assert experiment.artifact_location.startswith("mlflow-artifacts:")
    assert len(list(server.rglob("*.keras"))) == 2
    assert not (paths.mlflow() / "mlflow.db").exists()


def test_a_project_moves_to_shared_services_and_nothing_is_searched_twice(
    database: Callable[[str], str], server: Path, edit: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = os.environ[store.SERVER]
    monkeypatch.delenv(store.SERVER)
    edit("tune.mars.trials", 4)
    edit("compute.workers", 1)
    assert start("stages.tune", "mars").wait() == 0, Path("mars.log").read_text()
    assert start("stages.train", "mars-unet_1").wait() == 0, Path("mars-unet_1.log").read_text()
    outcome, local = files.read_json(paths.tuning("mars")), trials.open_study(params.load(), "mars")

    monkeypatch.setenv(store.SERVER, address)
    monkeypatch.setenv(tuning.STORAGE, database("moved"))
    moved = trials.open_study(params.load(), "mars")
    assert moved.trials() == local.trials()
    assert moved.pending(4) == []
    disconnect(moved)
    assert start("stages.tune", "mars").wait() == 0, Path("mars.log").read_text()
    assert files.read_json(paths.tuning("mars")) == outcome

    (identity,) = row.read("mars", "mars-unet_1").identities
    curves = pd.read_csv(paths.curves("mars", "mars-unet_1")).drop(columns="seed")
    model = paths.model("mars", "mars-unet_1", identity.seed)
    tracking.reconcile("mars", [Finished(identity=identity, title="", curves=curves, summary={}, model=model)])
    client = mlflow.MlflowClient(address, address)
    runs = client.search_runs([client.get_experiment_by_name("mars").experiment_id])
    names = Counter(run.info.run_name for run in runs)
    assert names == Counter(["mars-unet_1-0", f"tuning {moved.name}", *(f"trial {n}" for n in range(4))])
    assert len(list(server.rglob("*.keras"))) == 1
