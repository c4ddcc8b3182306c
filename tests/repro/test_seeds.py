"""Seeds trained side by side: the stage makes the same outputs of them as alone, and trains nothing again."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from terracyte import compute, params, tracking
from terracyte.core import paths
from terracyte.core.errors import InputError
from terracyte.params import row
from terracyte.repro import seeds, stages
from terracyte.tracking import client
from terracyte.train import checkpoints
from tests import balanced_project
from tests.conftest import Edit

ROW = "mars-unet_1"


@pytest.fixture(autouse=True)
def two_seeds(project: Path, edit: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prepare a row of two small networks, without a record in MLflow."""
    monkeypatch.setattr(tracking, "training_run", lambda *_, **__: nullcontext(MagicMock()))
    monkeypatch.setattr(tracking, "has_finished", lambda _: False)
    balanced_project.write(project)
    edit("seeds", [0, 1])
    for name, value in {"depth": 1, "epochs": 2}.items():
        edit(f"reference.mars.{name}", value)
    balanced_project.configure()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What `compute.run` was asked for: labels of the jobs, which it runs in this process, and number of workers."""
    seen = SimpleNamespace(labels=[], workers=0)

    def run(function: Any, jobs: list[seeds.Job], where: params.Compute, inputs: compute.Inputs) -> Iterator[Any]:
        seen.labels, seen.workers = [(each.variant, each.seed) for each, _ in jobs], where.workers
        for job in jobs:
            yield job, function(job, lambda _: None)

    monkeypatch.setattr(compute, "run", run)
    return seen


def train_ahead(monkeypatch: pytest.MonkeyPatch, *rows: str) -> None:
    monkeypatch.setattr(sys, "argv", ["seeds", "3", *rows])
    seeds.main()


def train_row() -> dict[str, bytes]:
    """Train the row as the stage does; return the outputs' contents by path."""
    from terracyte.train.variant import train_row

    settings = params.load()
    train_row(row.read("mars", ROW), settings.row(ROW).title, settings.compute)
    outputs = [*paths.models("mars", ROW).iterdir(), paths.curves("mars", ROW), paths.training("mars", ROW)]
    return {str(file): file.read_bytes() for file in outputs}


def test_the_stage_finds_the_work_done(asked: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    from terracyte.train.fit import Fitting

    alone = train_row()
    shutil.rmtree(paths.models("mars", ROW))
    train_ahead(monkeypatch, ROW)
    assert asked.labels == [(ROW, 0), (ROW, 1)]
    assert asked.workers == 3
    assert not paths.models("mars", ROW).exists()
    monkeypatch.setattr(Fitting, "_train", lambda *_: pytest.fail("trained again"))
    assert train_row() == alone


def test_processes_of_this_machine_train(migrated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(migrated, paths.mlflow())
    train_ahead(monkeypatch, "mars-baseline")
    identities = row.read("mars", "mars-baseline").identities
    assert [checkpoints.finished_epochs(checkpoints.folder(each)) for each in identities] == [1, 1]
    with client.connected() as connection:
        recorded = client.all_runs(connection, client.experiment_id(connection, "mars"))
    # the stage goes on with these runs
    assert [(run.info.status, "loss" in run.data.metrics) for run in recorded] == [("RUNNING", True)] * 2


def test_a_training_that_fails_is_left_to_the_stage(asked: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    from terracyte.train.fit import Fitting

    def fail(self: Fitting) -> None:
        raise InputError(f"{self.label}: the loss is not finite")

    monkeypatch.setattr(Fitting, "run", fail)
    train_ahead(monkeypatch, ROW)
    assert asked.labels == [(ROW, 0), (ROW, 1)]
    with pytest.raises(InputError, match=f"{ROW} seed 0: the loss is not finite"):
        train_row()


@pytest.mark.parametrize(
    ("settings", "rows"),
    [
        ({}, 16),
        ({"workers": 3}, 3),
        ({"workers": 64}, 16),
        ({"workers": 3, "engine": "ray", "address": "auto"}, 16),  # there, it is the number of a row's trainings
        ({"workers": 3, "data_parallel": True}, 1),  # one training occupies all devices
    ],
)
def test_no_more_rows_are_trained_at_a_time_than_allowed(project: Path, edit: Edit, settings: Any, rows: int) -> None:
    for key, value in settings.items():
        edit(f"compute.{key}", value)
    assert stages._rows_at_once(Path(), 16) == rows


@pytest.mark.parametrize(("allowed", "used"), [(2, 2), (5, 3)])
def test_no_more_seeds_are_trained_at_a_time_than_allowed_and_asked(
    allowed: int, used: int, asked: SimpleNamespace, edit: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seeds, "train", lambda *_: None)
    edit("compute.workers", allowed)
    train_ahead(monkeypatch, ROW)
    assert asked.workers == used


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seeds", [0]),  # a single training
        ("compute.engine", "ray"),  # the stage itself trains seeds side by side on Ray
        ("compute.workers", 1),  # chosen to save memory
        ("compute.data_parallel", True),  # each training uses all devices
    ],
)
def test_what_gains_nothing_is_left_to_the_stage(
    key: str, value: object, asked: SimpleNamespace, edit: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(key, value)
    balanced_project.configure()
    train_ahead(monkeypatch, ROW)
    assert asked.labels == []


def test_what_was_trained_before_is_left_to_the_cache(asked: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "has_finished", lambda each: each.variant == ROW)
    train_ahead(monkeypatch, ROW, "mars-baseline")
    assert asked.labels == [("mars-baseline", 0), ("mars-baseline", 1)]
