"""Stores of MLflow's record: one is made, and copied for each test."""

import shutil
from pathlib import Path

import pytest

from terracyte.core import paths
from terracyte.tracking import store


@pytest.fixture
def empty_store(project: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The project's own store, without a run."""
    monkeypatch.delenv(store.SERVER, raising=False)
    shutil.copytree(migrated, paths.mlflow())
