"""Stores of MLflow's record: MLflow makes one in 10 s, so that one is made, and copied for each test."""

import contextlib
import os
import shutil
from pathlib import Path

import pytest

from terracyte.core import paths
from terracyte.tracking import store


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store, made once for all workers."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(folder):
        patch.delenv(store.SERVER, raising=False)
        store.prepare()
        return paths.mlflow().resolve()


@pytest.fixture
def empty_store(project: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The project's own store, without a run."""
    monkeypatch.delenv(store.SERVER, raising=False)
    shutil.copytree(migrated, paths.mlflow())
