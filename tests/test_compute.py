"""Jobs in processes: all results, no job lost to a killed process, nothing left running."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from terracyte import compute
from terracyte.compute import Ask, Inputs
from terracyte.errors import InputError
from terracyte.params import Compute
from tests.conftest import ROOT


def run(function: Any, jobs: Any, workers: int, **more: Any) -> Any:
    return compute.run(function, jobs, Compute(workers=workers), Inputs(), **more)


def square(number: int, ask: Ask) -> tuple[int, int]:
    time.sleep(0.05)
    return number * number, os.getpid()


def die_once(trace: Path, ask: Ask) -> str:
    """Be killed the first time."""
    if not trace.exists():
        trace.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def die_always(trace: Path, ask: Ask) -> None:
    with trace.open("a") as stream:
        stream.write("x")
    os.kill(os.getpid(), signal.SIGKILL)


def refuse(number: int, ask: Ask) -> int:
    raise InputError(f"{number} is no good")


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

    results = run(square, jobs(), 2)  # type: ignore[arg-type]
    next(results)
    assert len(taken) <= 3
    assert len(list(results)) == 4


def test_a_killed_process_takes_no_job_with_it(tmp_path: Path) -> None:
    traces = [tmp_path / "a", tmp_path / "b"]
    assert sorted(run(die_once, traces, 2)) == [(trace, "done") for trace in traces]


def test_a_job_that_kills_its_process_is_given_up(tmp_path: Path) -> None:
    ((job, result),) = run(die_always, [tmp_path / "trace"], 1)
    assert job.read_text() == "x" * compute.ATTEMPTS
    assert "died 3 times (signal 9" in str(result)


def converse(number: int, ask: Ask) -> list[int]:
    return [ask(number + step) for step in range(3)]


def test_jobs_ask_and_are_answered() -> None:
    results = dict(run(converse, [10, 20], 2, answer=lambda job, asked: 100 * job + asked))
    assert results == {10: [1010, 1011, 1012], 20: [2020, 2021, 2022]}


def test_parts_keep_their_order_and_are_taken_one_by_one() -> None:
    parts = iter(range(5))
    results = compute.spread(pow, parts, 2)
    assert next(results) == 0
    assert next(parts) == 1
    assert list(results) == [4, 9, 16]


def test_an_error_reaches_the_caller() -> None:
    with pytest.raises(InputError, match="3 is no good"):
        list(run(refuse, [3], 1))


def test_processes_end_with_a_killed_parent(tmp_path: Path) -> None:
    trace = tmp_path / "pids"
    parent = subprocess.Popen(
        [sys.executable, "-c", f"from tests.test_compute import wait_long; wait_long({str(trace)!r})"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    _wait_for(lambda: trace.exists() and trace.read_text().endswith("\n"))
    parent.kill()
    parent.wait()
    child = int(trace.read_text())
    _wait_for(lambda: not Path(f"/proc/{child}").exists())


def wait_long(trace: str) -> None:
    list(run(sleep, [trace], 1))


def sleep(trace: str, ask: Ask) -> None:
    Path(trace).write_text(f"{os.getpid()}\n")
    time.sleep(600)


def _wait_for(condition: object, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.05)
