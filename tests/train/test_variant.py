"""The train stage: what it writes, and that it writes the same again."""

import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pandas as pd
import pytest

from terracyte import models, params
from terracyte.core import files, metric_files, paths
from terracyte.core.errors import InputError
from terracyte.models.serialization import read_model
from terracyte.params import row
from terracyte.params.row import data_hash
from terracyte.train import checkpoints
from terracyte.train.fit import Fitting
from terracyte.train.variant import train_row
from tests import balanced_project
from tests.conftest import ROOT, Edit


@pytest.fixture(autouse=True)
def no_tracking(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    """Replace MLflow's runs: MLflow has tests of its own, and creating its store takes seconds."""
    from terracyte import tracking

    training_run = MagicMock(side_effect=lambda *_, **__: nullcontext(MagicMock()))
    monkeypatch.setattr(tracking, "training_run", training_run)
    return training_run


@pytest.fixture
def quick(project: Path, edit: Edit) -> None:
    """Prepare networks that TensorFlow traces fast, for tests that hold with any network."""
    balanced_project.write(project)
    for name, value in {"depth": 1, "epochs": 2, "test_time_flips": False, "class_offsets": False}.items():
        edit(f"reference.mars.{name}", value)


def train(name: str) -> dict[str, bytes]:
    """Train, and return the outputs' contents by path."""
    from terracyte.train.variant import train_row

    balanced_project.configure()
    settings = params.load()
    task = settings.variants[name].task
    train_row(row.read(task, name), settings.variants[name].title, settings.compute)
    outputs = [*paths.models(task, name).iterdir(), paths.curves(task, name), paths.training(task, name)]
    return {str(file): file.read_bytes() for file in outputs}


def test_writes_models_curves_and_records(project: Path, edit: Edit, no_tracking: MagicMock) -> None:
    balanced_project.write(project)
    edit("seeds", [0, 3])
    edit("reference.blood.epochs", 2)
    train("blood-cnn")
    records = metric_files.read(paths.training("blood", "blood-cnn"))
    curves = pd.read_csv(paths.curves("blood", "blood-cnn"))
    assert list(records) == ["0", "3"]
    scores = ["val_accuracy", "val_shift_accuracy", "val_robust_accuracy"]
    assert list(curves.columns) == ["seed", "epoch", "loss", "val_loss", *scores, "learning_rate"]
    assert list(zip(curves["seed"], curves["epoch"], strict=True)) == [(0, 1), (0, 2), (3, 1), (3, 2)]
    for seed in (0, 3):
        record, curve = records[str(seed)], curves[curves["seed"] == seed].reset_index()
        model = read_model(paths.model("blood", "blood-cnn", seed))
        assert record["parameters"] == model.count_params()
        assert record["data_hash"] == data_hash("blood")
        assert record["initialisation"] == "random"
        assert record["val_robust_accuracy"] == curve["val_robust_accuracy"].max()
        assert all(record[name] == curve[name][record["best_epoch"] - 1] for name in scores)
    assert records["0"]["fingerprint"] != records["3"]["fingerprint"]
    assert not list(paths.CHECKPOINTS.iterdir())
    # an unusable store is an error only before the first seed is trained
    assert [call.kwargs["required"] for call in no_tracking.call_args_list] == [True, False]


@pytest.mark.parametrize("name", ["mars-unet_final", "mars-baseline"])
def test_same_inputs_same_bytes(project: Path, edit: Edit, name: str) -> None:
    balanced_project.write(project)
    edit("reference.mars.epochs", 2)
    edit("reference.mars.depth", 1)
    assert train(name) == train(name)


def test_finished_seeds_survive(project: Path, edit: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    from terracyte.train.fit import Fitting

    balanced_project.write(project)
    edit("seeds", [0, 1])
    edit("reference.blood.epochs", 1)
    edit("reference.blood.depth", 1)
    edit("reference.blood.test_time_flips", False)
    whole = train("blood-cnn")
    run, trained = Fitting.run, []

    def run_until_killed(self: Fitting) -> object:
        if self.seed == 1:
            raise KeyboardInterrupt
        return run(self)

    monkeypatch.setattr(Fitting, "run", run_until_killed)
    with pytest.raises(KeyboardInterrupt):
        train("blood-cnn")
    train_epoch = Fitting._train

    def counted(self: Fitting, model: object, average: Any, epoch: int) -> tuple[float, int]:
        trained.append((self.seed, epoch))
        return train_epoch(self, model, average, epoch)

    monkeypatch.setattr(Fitting, "run", run)
    monkeypatch.setattr(Fitting, "_train", counted)
    assert train("blood-cnn") == whole
    assert trained == [(1, 1)]


@pytest.mark.usefixtures("quick")
def test_twins_keep_their_progress_apart(monkeypatch: pytest.MonkeyPatch, edit: Edit) -> None:
    """Two variants have one configuration; one is trained right after the other's first checkpoint."""
    edit("variants.mars-twin", {"task": "mars", "title": "twin", "like": "mars-unet_final"})
    edit("rows.mars-twin", "mars")
    balanced_project.configure()
    write, kept = checkpoints.write, list[Path]()

    def write_and_train_the_twin(place: Path, *state: Any) -> None:
        write(place, *state)
        if not kept:
            kept.append(place)
            train("mars-twin")
            assert place.exists()

    monkeypatch.setattr(checkpoints, "write", write_and_train_the_twin)
    model, curve, record = train("mars-unet_final").values()
    assert (model, curve, record) == tuple(train("mars-twin").values())
    assert len(kept) == 1


@pytest.mark.usefixtures("quick")
def test_outputs_stay_when_training_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    before = train("mars-baseline")

    def fail(*_: object) -> None:
        raise InputError("multiples of 256")

    monkeypatch.setattr(models, "build", fail)
    with pytest.raises(InputError, match="multiples of 256"):
        train("mars-baseline")
    assert {path: Path(path).read_bytes() for path in before} == before


def test_imitated_arithmetic_is_told(
    project: Path, edit: Edit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    balanced_project.write(project)
    edit("reference.mars.precision", "bfloat16")
    monkeypatch.setattr("terracyte.train.variant.is_slow_here", lambda precision: precision == "bfloat16")
    train("mars-baseline")
    assert "warning: mars-baseline: this processor imitates bfloat16" in capsys.readouterr().err


def test_other_data_than_the_row_s_are_refused(project: Path) -> None:
    balanced_project.write(project)
    resolved = row.read("mars", "mars-baseline")
    manifest = pd.read_parquet(paths.balance_manifest("mars"))
    files.write_table(paths.balance_manifest("mars"), manifest.iloc[1:])
    from terracyte.train.variant import train_row

    with pytest.raises(InputError, match="is of other data: run `dvc repro configure@mars`"):
        train_row(resolved, "", params.load().compute)


def test_an_unknown_variant_is_one_line(project: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "stages.train", "mars-unet_0"],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "mars-unet_0" in ended.stderr


def test_other_code_that_trains_finds_no_checkpoint(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "terracyte", tmp_path / "terracyte", ignore=shutil.ignore_patterns("__pycache__"))

    def place() -> str:
        command = [sys.executable, "-c", "from terracyte.core import paths; print(paths.CHECKPOINTS)"]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    before = place()
    with (tmp_path / "terracyte/report/page.py").open("a") as stream:
        stream.write("# decides no training\n")
    assert place() == before
    with (tmp_path / "terracyte/train/losses.py").open("a") as stream:
        stream.write("# may decide one\n")
    assert place() != before


def test_each_training_is_given_what_its_row_says(project: Path, edit: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    balanced_project.write(project)
    weights = [0.5, 1.0, 1.5, 1.0]
    files.write_json(paths.balance("blood"), {"class_weights": weights, "splits": {"train": {"images": 16}}})
    edit("seeds", [3])
    edit("variants.blood-cnn.members", [{"width": 5}, {}])
    balanced_project.configure()
    monkeypatch.setattr("terracyte.tracking.training_run", MagicMock())
    monkeypatch.setattr(paths, "backbone", lambda variant, member=0: Path(f"{variant}-{member}.h5"))

    def told(self: Fitting) -> None:
        assert (self.seed, self.class_weights, self.pretrained) == (3, weights, Path("blood-cnn-1.h5"))
        assert self.config == params.load().config("blood-cnn")
        raise KeyboardInterrupt

    monkeypatch.setattr(Fitting, "run", told)
    with pytest.raises(KeyboardInterrupt):
        train_row(row.read("blood", "blood-cnn"), "", params.load().compute)
