"""Fixtures that run ingest on small images in a temporary project."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from stages import ingest as stage
from terracyte.core import paths
from terracyte.core.errors import guarded
from tests.conftest import Edit

CLASSES = {
    "blood": ["basophil", "eosinophil", "immature granulocyte"],
    "mars": ["background", "soil", "bedrock", "big rock"],
}
SIZE = 32  # height and width of the raw images, in pixels

Declare = Callable[..., None]
Ingest = Callable[[str], tuple[NDArray[np.uint8], pd.DataFrame]]
Refusal = Callable[[str], str]


@pytest.fixture
def declare(edit: Edit) -> Declare:
    """Declare a task with small images, and its source: `declare("blood", source=..., path=...)`."""

    def change(task: str, **values: Any) -> None:
        dense = task == "mars"
        kind = {"kind": "segmentation", "background": "background"} if dense else {"kind": "classification"}
        channels = values.pop("channels", 1 if dense else 3)
        edit(f"tasks.{task}", kind | {"classes": CLASSES[task], "height": SIZE, "width": SIZE, "channels": channels})
        edit(f"sources.{task}", values)

    return change


@pytest.fixture
def ingest(project: Path, monkeypatch: pytest.MonkeyPatch) -> Ingest:
    """Run the stage; return the raw images and the manifest."""

    def run(task: str) -> tuple[NDArray[np.uint8], pd.DataFrame]:
        monkeypatch.setattr(sys, "argv", ["ingest", task])
        stage.main()
        return np.load(paths.images(task)), pd.read_parquet(paths.raw_manifest(task))

    return run


@pytest.fixture
def refusal(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refusal:
    """Run the stage on input that it must refuse; return the error message.

    Checks the exit code, that the message is one line, and that only the previous raw form is left.
    """

    def run(task: str) -> str:
        previous = paths.raw(task) / "images.npy"
        previous.parent.mkdir(parents=True)
        previous.write_text("previous")
        monkeypatch.setattr(sys, "argv", ["ingest", task])
        with pytest.raises(SystemExit) as stop:
            guarded(stage.main)
        assert stop.value.code == 2
        assert previous.read_text() == "previous"
        assert [path.name for path in previous.parent.parent.rglob("*")] == ["raw", "images.npy"]
        (line,) = capsys.readouterr().err.splitlines()
        return line

    return run
