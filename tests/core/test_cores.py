"""The number of cores that a process may use, on a mocked machine with made-up control groups."""

import os
from pathlib import Path

import pytest

from terracyte.core import cores


@pytest.fixture(autouse=True)
def eight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mock a machine with eight cores, all of which the process may use, and its control groups."""
    monkeypatch.setattr(cores, "_CGROUPS", tmp_path)
    monkeypatch.setattr(cores, "_OWN", tmp_path / "own")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.delenv(cores.LIMIT, raising=False)


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def available(folder: Path, groups: str) -> int:
    write(folder / "own", groups)
    return cores.available()


@pytest.mark.parametrize(
    ("quota", "found"),
    [("max 100000", 8), ("400000 100000", 4), ("250000 100000", 2), ("50000 100000", 1), ("1600000 100000", 8)],
)
def test_a_group_of_version_2_limits_the_cores(quota: str, found: int, tmp_path: Path) -> None:
    write(tmp_path / "a/b/cpu.max", quota)
    assert available(tmp_path, "0::/a/b\n") == found


def test_the_groups_above_limit_it_too(tmp_path: Path) -> None:
    write(tmp_path / "cpu.max", "300000 100000")
    write(tmp_path / "a/b/cpu.max", "max 100000")
    assert available(tmp_path, "0::/a/b\n") == 3
    assert available(tmp_path, "0::/of/another/machine\n") == 3


@pytest.mark.parametrize(("quota", "found"), [("-1", 8), ("200000", 2)])
def test_a_group_of_version_1_limits_the_cores(quota: str, found: int, tmp_path: Path) -> None:
    write(tmp_path / "cpu,cpuacct/a/cpu.cfs_quota_us", quota)
    write(tmp_path / "cpu,cpuacct/a/cpu.cfs_period_us", "100000")
    assert available(tmp_path, "5:memory:/a\n4:cpu,cpuacct:/a\n") == found


def test_affinity_and_the_variable_limit_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {2, 3, 7})
    assert cores.available() == 3
    for value, found in (("2", 2), ("9", 3), ("0", 1), ("many", 3)):
        monkeypatch.setenv(cores.LIMIT, value)
        assert cores.available() == found


@pytest.mark.parametrize(("workers", "share"), [(1, "8"), (3, "2"), (20, "1")])
def test_processes_at_a_time_divide_the_cores(
    workers: int, share: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "available", lambda: 8)
    assert cores.shared(workers) == {cores.LIMIT: share}
