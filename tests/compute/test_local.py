"""Jobs in worker processes: all return their results, killed processes lose no job, and none is left running."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from terracyte import compute, params, tasks
from terracyte.compute import Inputs
from terracyte.compute.inputs import Bundle, pack
from terracyte.core import paths
from terracyte.core.errors import InputError
from terracyte.params import Compute
from terracyte.train.inputs import of_training
from tests import balanced_project
from tests.compute.local_jobs import converse, die_always, die_once, refuse, square
from tests.conftest import ROOT, wait_for


def run(function: Any, jobs: Any, workers: int, **more: Any) -> Any:
    return compute.run(function, jobs, Compute(workers=workers), Inputs(), **more)


@pytest.mark.parametrize("workers", [1, 3])
def test_every_job_has_its_result(workers: int) -> None:
    results = dict(run(square, range(7), workers))
    found = {job: result for job, result in results.items() if not isinstance(result, compute.Lost)}
    assert {job: value for job, (value, _) in found.items()} == {n: n * n for n in range(7)}
    processes = {process for _, process in found.values()}
    assert 1 <= len(processes) <= workers
    assert os.getpid() not in processes


def test_jobs_are_taken_when_a_process_is_free() -> None:
    taken = []

    def jobs() -> object:
        for number in range(5):
            taken.append(number)
            yield number

    results = run(square, jobs(), 2)
    next(results)
    assert len(taken) <= 3
    assert len(list(results)) == 4


def test_a_killed_process_takes_no_job_with_it(tmp_path: Path) -> None:
    traces = [tmp_path / "a", tmp_path / "b"]
    assert sorted(run(die_once, traces, 2)) == [(trace, "done") for trace in traces]


def test_a_process_killed_between_two_jobs_costs_none() -> None:
    results = run(square, [1, 2], 1)
    _, (_, process) = next(results)
    (child,) = (child for child in multiprocessing.active_children() if child.pid == process)
    child.kill()
    child.join()
    ((job, (square_of_2, successor)),) = results
    assert (job, square_of_2) == (2, 4)
    assert successor != process


def test_a_job_that_kills_its_process_is_given_up(tmp_path: Path) -> None:
    ((job, result),) = run(die_always, [tmp_path / "trace"], 1)
    assert job.read_text() == "x" * compute.ATTEMPTS
    assert "died 3 times (signal 9" in str(result)


def test_jobs_ask_and_are_answered() -> None:
    results = dict(run(converse, [10, 20], 2, answer=lambda job, asked: 100 * job + asked))
    assert results == {10: [1010, 1011, 1012], 20: [2020, 2021, 2022]}


def test_an_error_of_an_answer_reaches_the_caller() -> None:
    def answer(job: int, asked: int) -> int:
        raise ConnectionResetError(f"no store for {job}")

    with pytest.raises(ConnectionResetError, match="no store for 10"):
        list(run(converse, [10], 1, answer=answer))


def test_parts_keep_their_order_and_are_taken_one_by_one() -> None:
    parts = iter(range(5))
    results = compute.parallel_map(pow, parts, 2)
    assert next(results) == 0
    assert next(parts) == 1
    assert list(results) == [4, 9, 16]


def test_an_error_reaches_the_caller() -> None:
    with pytest.raises(InputError, match="3 is no good"):
        list(run(refuse, [3], 1))


def test_processes_end_with_a_killed_parent(tmp_path: Path) -> None:
    trace = tmp_path / "pids"
    parent = subprocess.Popen(
        [sys.executable, "-c", f"from tests.compute.local_jobs import wait_long; wait_long({str(trace)!r})"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    wait_for(lambda: trace.exists() and trace.read_text().endswith("\n"))
    parent.kill()
    parent.wait()
    child = int(trace.read_text())
    wait_for(lambda: not Path(f"/proc/{child}").exists())


def packed(inputs: Inputs) -> tuple[Bundle, list[Any]]:
    """Return the bundle of the inputs, and the values that it has put in the store."""
    sent: list[Any] = []

    def put(value: Any) -> int:
        sent.append(value)
        return len(sent) - 1

    return pack(inputs, put), sent


def test_a_bundle_brings_files_folders_and_rows(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(project / "node"))
    monkeypatch.setattr("terracyte.compute.inputs._CHUNK_BYTES", 10)
    Path("deep/er").mkdir(parents=True)
    Path("deep/er/text").write_text("more than one chunk")
    Path("deep/empty").touch()
    images = np.arange(24, dtype=np.uint8).reshape(6, 4) + 1
    np.save("images.npy", images)
    bundle, sent = packed(Inputs((Path("deep"), Path("params.yaml")), {Path("images.npy"): np.array([5, 0, 3])}))
    folder = bundle.unpack("node", sent.__getitem__)
    assert folder.is_relative_to(project / "node")
    assert (folder / "deep/er/text").read_text() == "more than one chunk"
    assert (folder / "deep/empty").read_bytes() == b""
    assert (folder / "params.yaml").read_bytes() == Path("params.yaml").read_bytes()
    found = np.load(folder / "images.npy")
    kept = np.array([True, False, False, True, False, True])
    assert (found[kept] == images[kept]).all()
    assert not found[~kept].any()
    # a node unpacks a bundle only once: the second time it needs nothing from the store
    sent.clear()
    assert bundle.unpack("node", sent.__getitem__) == folder
    bundle.remove("node")
    assert list((project / "node/terracyte").iterdir()) == []


@pytest.mark.parametrize("task", ["blood", "mars"])
def test_images_of_the_test_split_stay_at_home(task: str, project: Path) -> None:
    balanced_project.write(project)
    inputs = of_training(tasks.make(task, params.load()), "any")
    manifest = pd.read_parquet(paths.balance_manifest(task))
    rows = {path: set(ids.tolist()) for path, ids in inputs.rows.items()}
    assert set(rows) == {paths.images(task), *([paths.masks(task)] if task == "mars" else [])}
    assert all(ids == set(manifest["id"][manifest["split"] != "test"]) for ids in rows.values())


def test_an_engine_that_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        InputError, match=r"'compute.engine' is ray, which is not installed: run `pip install -e '.\[ray\]'`"
    ):
        list(compute.run(square, [1], Compute(engine="ray"), Inputs()))


@pytest.mark.parametrize("address", ["auto", "10.0.0.1:6379", "ray://head.example:10001", "[::1]:6379"])
def test_addresses_of_clusters(address: str) -> None:
    assert Compute(engine="ray", address=address).address == address


@pytest.mark.parametrize("address", ["", "head", "http://head:1", "head:port", "ray://head"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InputError, match=r"it must be auto, HOST:PORT, ray://HOST:PORT or null"):
        Compute(engine="ray", address=address)
