"""A row's file says what its trainings read: of the experiment, of the search, of the weights and of the data."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from terracyte import params
from terracyte.configure import rows
from terracyte.core import files, paths
from terracyte.core.errors import InputError
from terracyte.core.hashing import file_hash
from terracyte.fetch import initialisation
from terracyte.params import row
from terracyte.params.row import RANDOM, data_hash
from tests import balanced_project
from tests.conftest import Edit

NAME = "mars-unet_final"


@pytest.fixture(autouse=True)
def of_two_members(project: Path, edit: Edit) -> None:
    """Declare a row of each task; that of Mars has two members, of which one starts from a file."""
    balanced_project.write(project)
    shutil.rmtree(paths.configs("mars"))
    edit("rows", {"blood-cnn": "blood", NAME: "mars"})
    edit(f"variants.{NAME}.members", [{"width": 5}, {}])
    edit(f"variants.{NAME}.seeds", [4, 5])
    files.write_json(paths.tuned("mars"), {"learning_rate": 0.02})
    shutil.rmtree(paths.pretrained(NAME), ignore_errors=True)
    shutil.rmtree(paths.pretrained(NAME, 1), ignore_errors=True)
    Path("mine.h5").write_text("weights")
    initialisation.write(paths.pretrained(NAME), RANDOM)
    initialisation.write(paths.pretrained(NAME, 1), "mine.h5", Path("mine.h5"))


def test_a_row_is_what_earlier_stages_found() -> None:
    settings = params.load()
    paths.configs("mars").mkdir()
    rows.write(settings, "mars", paths.configs("mars"))
    assert {file.stem for file in paths.configs("mars").iterdir()} == {NAME, paths.evaluation("mars").stem}
    found = row.read("mars", NAME)
    assert [(start.config.width, start.config.learning_rate) for start in found.starts] == [
        (5, 0.02),
        (settings.config(NAME).width, 0.02),
    ]
    assert [(start.initialisation, start.weights_hash) for start in found.starts] == [
        (RANDOM, ""),
        ("mine.h5", file_hash(Path("mine.h5"))),
    ]
    assert (found.seeds, found.spec, found.data_hash) == ((4, 5), settings.tasks["mars"], data_hash("mars"))
    assert files.read_json(paths.evaluation("mars")) == dataclasses.asdict(settings.evaluate)


def test_what_earlier_stages_have_not_written_is_one_line() -> None:
    paths.tuned("mars").unlink()
    with pytest.raises(InputError, match="run `dvc repro tune@mars`"):
        rows.resolve(params.load(), "mars")
    (paths.pretrained("blood-cnn") / "initialisation.json").unlink()
    with pytest.raises(InputError, match="run `dvc repro fetch`"):
        rows.resolve(params.load(), "blood")
