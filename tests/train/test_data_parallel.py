"""Data-parallel trainings on Keras' JAX backend, each in processes of its own: `make test-cluster`."""

import importlib.util
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from terracyte import params
from terracyte.core import metric_files, paths
from terracyte.tracking import store
from tests import balanced_project
from tests.conftest import ROOT, TASKS, Edit

pytestmark = [
    pytest.mark.jax,
    pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed"),
]

NAMES = ("blood-cnn", "mars-unet_final")


@pytest.fixture(autouse=True)
def balanced(project: Path, edit: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(store.SERVER, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    balanced_project.write(project)
    for task in TASKS:
        # Lion takes the sign of each gradient: rounding would flip some signs
        edit(f"reference.{task}.optimizer", "adamw")
        edit(f"reference.{task}.epochs", 3)
    edit("reference.mars.dropout", 0.2)
    balanced_project.configure()


def start(name: str, number: int, **environment: str) -> "subprocess.Popen[bytes]":
    with Path(f"log{number}").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "stages.train", name],
            env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", **environment},
            stdout=log,
            stderr=log,
        )


def weights(name: str, *trainings: "subprocess.Popen[bytes]") -> tuple[list[Any], dict[str, Any]]:
    """Wait for trainings of a row; return the model's weights, as TensorFlow reads them, and the record."""
    from terracyte.models.serialization import read_model

    for number, training in enumerate(trainings):
        assert training.wait() == 0, Path(f"log{number}").read_text()
    task = params.load().variants[name].task
    record: dict[str, Any] = metric_files.read(paths.training(task, name))["0"]
    return read_model(paths.model(task, name, 0)).get_weights(), record


def assert_same(one: tuple[list[Any], dict[str, Any]], other: tuple[list[Any], dict[str, Any]]) -> None:
    for expected, found in zip(one[0], other[0], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=2e-4)
    assert {key: value for key, value in one[1].items() if not key.startswith("val_")} == {
        key: value for key, value in other[1].items() if not key.startswith("val_")
    }


@pytest.mark.parametrize("name", NAMES)
def test_several_devices_and_several_processes_train_the_network_of_one(name: str, edit: Edit) -> None:
    single = weights(name, start(name, 0))

    edit("compute.data_parallel", True)
    devices = weights(name, start(name, 0, XLA_FLAGS="--xla_force_host_platform_device_count=2"))
    assert_same(single, devices)

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    together = {"KERAS_DISTRIBUTION_JOB_ADDRESSES": address, "KERAS_DISTRIBUTION_NUM_PROCESSES": "2"}
    trainings = [start(name, number, **together, KERAS_DISTRIBUTION_PROCESS_ID=str(number)) for number in range(2)]
    assert_same(single, weights(name, *trainings))


def test_a_batch_that_cannot_be_shared_out_is_one_line(edit: Edit) -> None:
    edit("compute.data_parallel", True)
    training = start("blood-cnn", 0, XLA_FLAGS="--xla_force_host_platform_device_count=3")
    assert training.wait() == 2
    assert "a batch of 4 images cannot be shared by 3 devices evenly" in Path("log0").read_text()
