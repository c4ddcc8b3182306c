"""A real Ray cluster of two nodes, one of which is lost in the middle of the work: `make test-cluster`."""

import importlib.util
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from terracyte import compute, params
from terracyte.compute import Inputs
from terracyte.core import files, paths
from terracyte.core.errors import InputError
from terracyte.params import Compute
from terracyte.tracking import store
from terracyte.tune import study as tuning
from terracyte.tune import trial as trials
from terracyte.tune.study import Outcome
from terracyte.tune.trial import TrialJob
from tests import balanced_project
from tests.compute import cluster_jobs
from tests.compute.ray_cluster import Cluster, started
from tests.conftest import ROOT, Edit, wait_for

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
]

TRIALS = 6


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    with started() as cluster:
        yield cluster


@pytest.fixture
def cluster(nodes: Cluster) -> Cluster:
    """A cluster of two running nodes, even if an earlier test has killed one."""
    if nodes.worker.process.poll() is not None:
        nodes.add_worker()
    return nodes


@pytest.fixture
def balanced(project: Path, edit: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(tuning.STORAGE, raising=False)
    monkeypatch.delenv(store.SERVER, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    balanced_project.write(project)
    edit("tune.mars.trials", TRIALS)
    edit("tune.mars.pruner", "none")
    edit("tune.mars.change", {"epochs": 6, "patience": 6})
    edit("reference.mars.epochs", 2)
    edit("seeds", [0, 1])
    balanced_project.configure()


def use(cluster: Cluster, edit: Edit, workers: int = 2) -> None:
    edit("compute.engine", "ray")
    edit("compute.address", cluster.address)
    edit("compute.workers", workers)


def start(*command: str) -> "subprocess.Popen[bytes]":
    with Path("log").open("w") as log:
        return subprocess.Popen([sys.executable, "-m", *command], stdout=log, stderr=log)


def finish(process: "subprocess.Popen[bytes]") -> None:
    assert process.wait() == 0, Path("log").read_text()


def contents(*outputs: Path) -> dict[str, bytes]:
    found = [file for path in outputs for file in ([path] if path.is_file() else path.iterdir())]
    return {str(file): file.read_bytes() for file in found}


def test_jobs_have_their_inputs_on_nodes_without_the_project(cluster: Cluster, project: Path) -> None:
    Path("deep").mkdir()
    Path("deep/text").write_text("words")
    np.save("images.npy", np.ones((4, 3), np.uint8))
    inputs = Inputs((Path("deep"),), {Path("images.npy"): np.array([3, 1])})
    given = Compute(engine="ray", address=cluster.address, workers=2)
    results = dict(compute.run(cluster_jobs.look, range(4), given, inputs, lambda job, asked: 10 * job + asked))
    folders = {result[0] for result in results.values() if not isinstance(result, compute.Lost)}
    assert len(folders) == 2
    disks = cluster.nodes[0].folder, cluster.worker.folder
    assert all(any(folder.startswith(str(disk)) for folder in folders) for disk in disks)
    seen = {job: result[1:] for job, result in results.items() if not isinstance(result, compute.Lost)}
    assert seen == {job: (11 * job, [0, 3, 0, 3], "words") for job in range(4)}
    assert not any(Path(folder).exists() for folder in folders)


def test_a_lost_node_takes_no_job_with_it(cluster: Cluster, project: Path) -> None:
    told: Counter[int] = Counter()

    def answer(job: int, step: int) -> None:
        told[job] += 1
        if sum(told.values()) == 3:
            cluster.worker.kill()

    given = Compute(engine="ray", address=cluster.address, workers=2)
    results = list(compute.run(cluster_jobs.count, range(1, 5), given, Inputs(), answer))
    assert sorted(results) == [(job, job) for job in range(1, 5)]
    assert min(told.values()) >= 4


def test_a_job_that_kills_its_process_is_given_up_and_an_error_is_an_error(cluster: Cluster, project: Path) -> None:
    given = Compute(engine="ray", address=cluster.address)
    ((job, result),) = compute.run(cluster_jobs.die, [1], given, Inputs())
    assert job == 1
    assert str(result).startswith("its process died 3 times (")
    with pytest.raises(ValueError, match="2 is no good"):
        list(compute.run(cluster_jobs.refuse, [2], given, Inputs()))


def test_a_driver_from_outside(cluster: Cluster, project: Path) -> None:
    given = Compute(engine="ray", address=cluster.client, workers=2)
    results = list(compute.run(cluster_jobs.count, range(1, 3), given, Inputs(), lambda job, step: None))
    assert sorted(results) == [(1, 1), (2, 2)]


@pytest.mark.usefixtures("balanced")
def test_a_search_goes_on_when_a_node_is_lost(cluster: Cluster, edit: Edit) -> None:
    use(cluster, edit)
    search = start("stages.tune", "mars")
    wait_for(lambda: cluster.worker.has_finished_an_epoch() or search.poll() is not None, seconds=900)
    cluster.worker.kill()
    finish(search)
    outcome = files.read_json(paths.tuning("mars"))
    assert [trial["number"] for trial in outcome["trials"]] == list(range(TRIALS))
    assert {trial["state"] for trial in outcome["trials"]} == {"complete"}
    assert all(len(trial["epochs"]) == 6 for trial in outcome["trials"])
    study = trials.open_study(params.load(), "mars")
    jobs = Counter(each.user_attrs["job"] for each in study._study.get_trials(deepcopy=False))
    assert jobs == dict.fromkeys(range(TRIALS), 1)
    # the same values have the same score here, wherever a trial ran and however often it was restarted
    for trial in outcome["trials"][:2]:
        training = trials.training(params.load(), "mars", trial["values"], params.load().tune["mars"].seed, "again")
        again = trials.run(TrialJob(trial["number"], training), lambda epoch: False)
        assert again == Outcome(state="complete", score=trial["score"])


@pytest.mark.usefixtures("balanced")
def test_a_search_one_by_one_equals_a_local_one(cluster: Cluster, edit: Edit) -> None:
    edit("tune.mars.trials", 3)
    edit("tune.mars.pruner", "median")
    finish(start("stages.tune", "mars"))
    expected = contents(paths.tuning("mars"), paths.tuned("mars"))
    for path in (*paths.STUDIES.glob("*.journal"), paths.tuning("mars"), paths.tuned("mars")):
        path.unlink()
    use(cluster, edit, workers=1)
    finish(start("stages.tune", "mars"))
    assert contents(paths.tuning("mars"), paths.tuned("mars")) == expected


@pytest.mark.usefixtures("balanced")
def test_a_training_comes_home_the_same_when_a_node_is_lost(cluster: Cluster, edit: Edit) -> None:
    name = "mars-unet_final"
    outputs = paths.models("mars", name), paths.curves("mars", name), paths.training("mars", name)
    finish(start("stages.train", name))
    expected = contents(*outputs)
    assert len(expected) == 4
    use(cluster, edit)
    training = start("stages.train", name)
    wait_for(lambda: cluster.worker.has_finished_an_epoch() or training.poll() is not None, seconds=900)
    cluster.worker.kill()
    finish(training)
    assert contents(*outputs) == expected
    assert recorded() == {("0", "live"): 1, ("1", "live"): 1, ("0", "cluster"): 1, ("1", "cluster"): 1}


def recorded() -> Counter[tuple[str, str]]:
    """Count MLflow's runs by seed and kind of record; all must be finished and have a whole loss curve (2 epochs)."""
    from terracyte.tracking.client import all_runs, connected, experiment_id

    with connected() as client:
        runs = all_runs(client, experiment_id(client, "mars"))
        assert all(len(client.get_metric_history(run.info.run_id, "loss")) == 2 for run in runs)
    assert {run.info.status for run in runs} == {"FINISHED"}
    return Counter((run.data.tags["seed"], run.data.tags["record"]) for run in runs)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1"])
@pytest.mark.parametrize("where", ["params.yaml: 'compute.address'", "RAY_ADDRESS"])
def test_a_cluster_out_of_reach_is_one_line(
    where: str, address: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if where == "RAY_ADDRESS":
        monkeypatch.setenv(where, address)
    given = Compute(engine="ray", address=None if where == "RAY_ADDRESS" else address)
    with pytest.raises(InputError, match=f"{where} is {address}, but connecting to that Ray cluster failed") as caught:
        list(compute.run(cluster_jobs.count, [1], given, Inputs()))
    assert "\n" not in str(caught.value)
