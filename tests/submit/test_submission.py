"""The submissions, run and read as the competitions would."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from stages import submit as stage
from terracyte import params, tasks
from terracyte.core import files, metric_files, paths
from terracyte.core.errors import InputError, guarded
from terracyte.core.hashing import file_hash
from terracyte.params import row
from terracyte.params.variant import Config
from terracyte.submit import labels
from terracyte.tasks.task import Task
from tests import balanced_project
from tests.conftest import TASKS, Edit

# Validation scores by variant and seed: by its mean, the second variant is better.
SCORES = {"weak": (0.1, 0.9), "strong": (0.6, 0.8)}
BEST = "strong"
CONFIGS = {
    "blood": Config(architecture="cnn", width=4, depth=1, dropout=0.5, l1=0.0, l2=0.0),
    "mars": Config(architecture="unet", width=4, depth=1, dropout=0.5, l1=0.0, l2=0.0),
}
# What the competition's machine lacks: this project, and its dependencies beyond TensorFlow.
ABSENT = ("terracyte", "stages", "tests", "pandas", "scipy", "sklearn", "PIL", "tqdm", "matplotlib", "mlflow", "dvc")

# Runs in a folder that holds the unpacked zip and nothing else; the images lie elsewhere.
COMPETITION = f"""
import os, sys
sys.modules.update(dict.fromkeys({ABSENT}))  # None: importing them fails
from model import Model
images = sys.argv[1]
os.chdir("/")
import json
import numpy as np
model, X = Model(), np.load(images)
labels = [model.predict(X), model.predict(X.astype(np.float64)), model.predict(X[:0])]
assert all(np.issubdtype(part.dtype, np.integer) for part in labels)
print(json.dumps([part.tolist() for part in labels]))
"""


@pytest.fixture
def trained(project: Path, edit: Edit) -> Path:
    """A project with two variants per task that seem to have been trained; their model files are empty archives."""
    balanced_project.write(project)
    edit("seeds", [0, 1])
    for name in TASKS:
        edit(f"tune.{name}.trials", 0)  # the searches' variants are not declared here
    variants = {f"{task}-{name}": {"task": task, "title": name} for task in TASKS for name in SCORES}
    edit("rows", {name: variant["task"] for name, variant in variants.items()})
    edit("variants", variants)
    balanced_project.configure()
    for name in TASKS:
        task = make(name)
        for variant, scores in SCORES.items():
            fingerprints = row.read(name, f"{name}-{variant}").fingerprints
            runs = {
                seed: {"fingerprint": fingerprint, f"val_{task.selection}": score}
                for (seed, fingerprint), score in zip(fingerprints.items(), scores, strict=True)
            }
            metric_files.write(paths.training(name, f"{name}-{variant}"), {}, runs)
            for seed in runs:
                path = paths.model(name, f"{name}-{variant}", int(seed))
                path.parent.mkdir(parents=True, exist_ok=True)
                zipfile.ZipFile(path, "w").close()
    return project


def fewer_seeds(edit: Edit) -> None:
    """Reduce each row to one seed."""
    edit("seeds", [0])
    balanced_project.configure()


def make(name: str) -> Task:
    return tasks.make(name, params.load())


def save_best(task: Task, images: NDArray[np.uint8]) -> NDArray[Any]:
    """Write real models with random weights in place of the best row's; return their joint prediction, by mean logits.

    Biases keep each class from being the most probable everywhere, except background, which must not be predicted.
    """
    from terracyte import models
    from terracyte.models import inference
    from terracyte.models.problem import Problem
    from terracyte.models.serialization import read_model, write_model

    problem = Problem(image_shape=task.image_shape, dense=task.dense, class_shares=(0.25,) * 4)
    logits = []
    for seed in range(2):
        inference.make_repeatable(seed)
        model = models.build(CONFIGS[task.name], problem)
        mean = np.asarray(model(images, training=False)).reshape(-1, 4).mean(axis=0)
        if task.background is not None:
            mean[task.background] -= 100
        model.get_layer("logits").bias.assign(-mean)
        path = paths.model(task.name, f"{task.name}-{BEST}", seed)
        write_model(path, model)
        parts = inference.predict(read_model(path), images, np.arange(len(images)), batch_size=64)
        logits.append(np.concatenate(list(parts)))
    alone, together = (task.predicted(task.decode(each)) for each in (logits[1], (logits[0] + logits[1]) / 2))
    assert (alone != together).any()
    return np.asarray(together)


def noise(task: Task, count: int) -> NDArray[np.uint8]:
    """Return images (n, h, w, c) of random colours, with noise."""
    random = np.random.default_rng(1)
    colour = random.uniform(0, 255, (count, 1, 1, task.image_shape[2]))
    pixels = colour + random.normal(0, 40, (count, *task.image_shape))
    return pixels.clip(0, 255).astype(np.uint8)


def submit(task: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run the stage; return its summary of the submission."""
    monkeypatch.setattr(sys, "argv", ["submit", task])
    stage.main()
    summary: dict[str, Any] = files.read_json(paths.submission(task) / "submission.json")
    assert summary["sha256"] == file_hash(paths.submission(task) / summary["file"])
    assert sorted(file.name for file in paths.submission(task).iterdir()) == [summary["file"], "submission.json"]
    return summary


def test_the_zip_runs_with_tensorflow_alone(
    trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    task = make("blood")
    images = noise(task, 70)  # more than one batch
    expected = save_best(task, images)
    assert len(np.unique(expected)) > 1
    summary = submit("blood", monkeypatch)
    assert (summary["variant"], summary["seeds"]) == ("blood-strong", [0, 1])
    assert summary["fingerprints"] == list(row.read("blood", "blood-strong").fingerprints.values())
    assert submit("blood", monkeypatch) == summary  # the same bytes each time

    folder = tmp_path_factory.mktemp("competition")
    with zipfile.ZipFile(paths.submission("blood") / summary["file"]) as archive:
        assert archive.namelist() == ["model.py", "model.keras"]
        assert {entry.external_attr >> 16 for entry in archive.infolist()} == {0o644}  # it can be read
        archive.extractall(folder)
    np.save(trained / "images.npy", images)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [sys.executable, "-c", COMPETITION, trained / "images.npy"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == [expected.tolist(), expected.tolist(), []]


@pytest.mark.parametrize("beyond", [1e6, -1e6])
def test_the_zip_has_weights_of_half_precision_where_they_fit(beyond: float, tmp_path: Path) -> None:
    import keras

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2), keras.layers.Dropout(0.5)])
    kernel, bias = np.array([[0.1, -3e-8], [60000, 1]], np.float32), np.array([beyond, 0.1], np.float32)
    model.set_weights([kernel, bias])
    model.save(tmp_path / "model.keras")
    labels.write(tmp_path / "model.keras", tmp_path / "blood.zip")
    with zipfile.ZipFile(tmp_path / "blood.zip") as archive:
        archive.extract("model.keras", tmp_path / "out")
    found = keras.saving.load_model(tmp_path / "out/model.keras", safe_mode=True)
    assert [weight.dtype for weight in found.get_weights()] == ["float32", "float32"]
    np.testing.assert_array_equal(found.get_weights()[0], kernel.astype(np.float16))
    np.testing.assert_array_equal(found.get_weights()[1], bias)


def test_the_csv_holds_the_predicted_masks_row_by_row(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = make("mars")
    images = noise(task, 70)
    np.save(paths.unlabelled("mars"), images)
    masks = save_best(task, images)
    assert masks.shape == (70, 32, 32)
    assert set(np.unique(masks)) == {1, 2, 3}

    summary = submit("mars", monkeypatch)
    assert (summary["variant"], summary["seeds"], summary["images"]) == ("mars-strong", [0, 1], 70)
    table = pd.read_csv(paths.submission("mars") / summary["file"])
    assert table.columns.tolist() == ["id", *map(str, range(32 * 32))]
    assert table["id"].tolist() == list(range(70))
    assert set(table.dtypes) == {np.dtype(np.int64)}
    np.testing.assert_array_equal(table.drop(columns="id").to_numpy().reshape(70, 32, 32), masks)
    assert submit("mars", monkeypatch) == summary


def test_without_images_the_csv_is_its_header(
    trained: Path, edit: Edit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fewer_seeds(edit)
    edit("tasks.mars.height", 64)
    edit("tasks.mars.width", 128)
    summary = submit("mars", monkeypatch)
    assert summary["images"] == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert "data/mars/submission/mars.csv holds only a header" in line
    (header,) = (paths.submission("mars") / "mars.csv").read_text().splitlines()
    assert header.split(",") == ["id", *map(str, range(8192))]


@pytest.mark.parametrize("task", TASKS)
def test_a_variant_that_was_not_trained_is_refused(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], task: str
) -> None:
    paths.model(task, f"{task}-weak", 0).unlink()
    files.write_text(paths.submission(task) / "previous", "")
    monkeypatch.setattr(sys, "argv", ["submit", task])
    with pytest.raises(SystemExit) as stop:
        guarded(stage.main)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{task}-weak/seed_0.keras is missing: run `dvc repro train@{task}-weak`" in line
    assert [file.name for file in paths.submission(task).iterdir()] == ["previous"]


def test_a_named_variant_is_submitted_alone(
    trained: Path, edit: Edit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fewer_seeds(edit)
    paths.model("blood", f"blood-{BEST}", 0).unlink()
    monkeypatch.setattr(sys, "argv", ["submit", "blood", "--variant", "blood-weak"])
    stage.main()
    assert capsys.readouterr().out == "data/blood/submission/blood.zip: blood-weak, seed 0\n"
    assert files.read_json(paths.submission("blood") / "submission.json")["variant"] == "blood-weak"


def test_a_marked_variant_is_submitted_by_name_only(trained: Path, edit: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    fewer_seeds(edit)
    edit(f"variants.blood-{BEST}.marked", "the challenge forbids it")
    assert submit("blood", monkeypatch)["variant"] == "blood-weak"
    monkeypatch.setattr(sys, "argv", ["submit", "blood", "--variant", f"blood-{BEST}"])
    stage.main()
    assert files.read_json(paths.submission("blood") / "submission.json")["variant"] == f"blood-{BEST}"


def test_models_that_differ_from_the_lock_are_not_submitted(
    trained: Path, edit: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    fewer_seeds(edit)
    models = paths.models("blood", f"blood-{BEST}")
    recorded = {"outs": [{"path": models.as_posix(), "md5": "other"}]}
    files.write_text(paths.submission("blood") / "previous", "")
    files.write_json(trained / "dvc.lock", {"stages": {"train": recorded}})  # JSON is valid YAML
    monkeypatch.delenv("DVC_STAGE", raising=False)
    with pytest.raises(InputError, match=rf"{models} differs from dvc\.lock"):
        submit("blood", monkeypatch)
    assert [file.name for file in paths.submission("blood").iterdir()] == ["previous"]
    monkeypatch.setenv("DVC_STAGE", "submit@blood")  # DVC has compared them
    assert submit("blood", monkeypatch)["variant"] == f"blood-{BEST}"


def test_a_named_variant_of_another_task_is_refused(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["submit", "mars", "--variant", "blood-weak"])
    with pytest.raises(SystemExit) as stop:
        guarded(stage.main)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "blood-weak" in line
    assert "mars" in line


def test_where_all_are_marked_the_best_is_submitted(trained: Path, edit: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    fewer_seeds(edit)
    for name in SCORES:
        edit(f"variants.blood-{name}.marked", "the challenge forbids it")
    assert submit("blood", monkeypatch)["variant"] == f"blood-{BEST}"
