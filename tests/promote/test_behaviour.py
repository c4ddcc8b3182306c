"""What the behaviour tests find in networks with one fault or none."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from terracyte import params, tasks
from terracyte.core import files, paths
from terracyte.core.errors import InputError
from terracyte.promote import behaviour, checks, wording
from terracyte.tasks.task import Task
from tests.conftest import TASKS, Edit


@pytest.mark.usefixtures("finished")
def test_behaviour_is_tried_on_validation_images_only() -> None:
    manifest = pd.read_parquet(paths.balance_manifest("blood"))
    images = np.load(paths.images("blood"))
    ids = manifest["id"][manifest["split"] == "validation"].to_numpy()
    images[:] = 0
    images[ids] = 1
    np.save(paths.images("blood"), images)
    task = tasks.make("blood", params.load())
    for count, expected in ((5, 5), (10_000, len(ids))):
        chosen = behaviour.validation_images(task, count)
        assert chosen.shape == (expected, 32, 32, 3)
        assert chosen.min() == 1
    files.write_table(paths.balance_manifest("blood"), manifest[manifest["split"] != "validation"])
    with pytest.raises(InputError, match="no row's split is 'validation'"):
        behaviour.validation_images(task, 5)


def network(task: Task, fault: str) -> Path:
    """Write a network that decides by the brightness of an image or pixel, with one fault or none."""
    import keras
    from keras import layers, ops

    from terracyte.models.serialization import write_model

    images = keras.Input(task.image_shape)
    grey = ops.mean(images, axis=-1, keepdims=True) / 255
    if fault == "position":
        grey = ops.pad(grey[:, :, :16], [[0, 0], [0, 0], [0, 16], [0, 0]])  # ignores the right half
    if fault == "height":
        grey = ops.pad(grey[:, :16], [[0, 0], [0, 16], [0, 0], [0, 0]])  # ignores the lower half
    if fault == "batch":
        grey = grey - 0.004 * ops.mean(grey, axis=0, keepdims=True)  # too much for the images that differ most
    if fault == "infinite":
        grey = grey + ops.log(ops.mean(grey, axis=(1, 2, 3), keepdims=True))  # infinite for a black image
    if fault.startswith("infinite at"):
        level = ops.mean(images, axis=(1, 2, 3), keepdims=True)
        grey = grey + ops.log(ops.abs(level - float(fault.split()[-1])))
    if fault == "nan":
        grey = grey + np.nan
    shown = grey if task.dense else ops.mean(grey, axis=(1, 2))
    # the border between two decisions: far from all grey values of the pictures, or among them
    edge = 0.3 if fault != "edge" else 0.5
    logits = [ops.zeros_like(shown) - 9, edge - shown, shown - edge, ops.zeros_like(shown) - 9]
    model = keras.Model(images, layers.Concatenate(name="logits")(logits))
    path = Path("network.keras")
    write_model(path, model)
    return path


def pictures(task: Task, fault: str) -> behaviour.Images:
    """Return images (16, h, w, c): each half is dark or light at random; for the fault "edge", all are medium grey."""
    random = np.random.default_rng(0)
    left, right = (random.choice([10, 240], (16, 1, 1, 1)) for _ in range(2))
    if fault == "edge":
        left = right = random.integers(124, 132, (16, 1, 1, 1))
    halves = [np.broadcast_to(half, (16, 32, 16, task.image_shape[2])) for half in (left, right)]
    return np.concatenate(halves, axis=2).astype(np.uint8)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize(
    ("fault", "failed"),
    [
        ("", []),
        ("position", ["flips"]),
        ("batch", ["batch_of_one"]),
        ("infinite", ["empty_image"]),
        ("infinite at 128", ["empty_image"]),
        ("infinite at 255", ["empty_image"]),
        ("edge", ["brightness"]),
        ("nan", ["empty_image", "batch_of_one"]),
    ],
)
def test_behaviour_tests_find_the_fault(project: Path, edit: Edit, name: str, fault: str, failed: list[str]) -> None:
    for key, value in (("classes", ["background", "b", "c", "d"]), ("height", 32), ("width", 32)):
        edit(f"tasks.{name}.{key}", value)
    settings = params.load()
    task, bounds = tasks.make(name, settings), settings.promote[name]
    model, images = network(task, fault), pictures(task, fault)
    found = behaviour.examine(task, model, images, "horizontal", bounds)
    assert [check.name for check in found if not check.passed] == failed
    assert checks.from_record(checks.to_record(found)) == found
    if fault == "nan":
        assert wording.sentence(found[-1]) == "Alone or in a batch, an image's outputs are not finite."
    if not fault:
        unflipped = behaviour.examine(task, model, images, "none", bounds)
        assert wording.sentence(unflipped[0]) == "Mirror images are not tested: the reference's flip is none."
        assert unflipped[1:] == found[1:]


@pytest.mark.parametrize("name", TASKS)
def test_both_flips_are_tried_where_both_keep_the_label(project: Path, edit: Edit, name: str) -> None:
    for key, value in (("classes", ["background", "b", "c", "d"]), ("height", 32), ("width", 32)):
        edit(f"tasks.{name}.{key}", value)
    settings = params.load()
    task, bounds = tasks.make(name, settings), settings.promote[name]
    # a fault along the height only: the pictures are turned by 90°, and so is the half that the network sees
    model, images = network(task, "height"), np.swapaxes(pictures(task, ""), 1, 2)
    failed = [
        [check.name for check in behaviour.examine(task, model, images, flip, bounds) if not check.passed]
        for flip in ("horizontal", "both")
    ]
    assert failed == [[], ["flips"]]


def test_images_are_spread_over_the_split(finished: Path) -> None:
    manifest = pd.read_parquet(paths.balance_manifest("blood"))
    ids = np.sort(manifest["id"][manifest["split"] == "validation"].to_numpy())
    chosen = behaviour.validation_images(tasks.make("blood", params.load()), 3)
    expected = np.load(paths.images("blood"))[ids[[0, round((len(ids) - 1) / 2), -1]]]
    np.testing.assert_array_equal(chosen, expected)


@pytest.mark.parametrize("name", TASKS)
def test_a_bound_of_all_decisions_is_met_by_all_decisions(project: Path, edit: Edit, name: str) -> None:
    for key, value in (("classes", ["background", "b", "c", "d"]), ("height", 32), ("width", 32)):
        edit(f"tasks.{name}.{key}", value)
    for key in ("flip_agreement", "brightness_agreement"):
        edit(f"promote.{name}.{key}", 1.0)
    settings = params.load()
    task = tasks.make(name, settings)
    found = behaviour.examine(task, network(task, ""), pictures(task, ""), "horizontal", settings.promote[name])
    assert all(check.passed for check in found)


@pytest.mark.parametrize(
    ("check", "sentence"),
    [
        (
            checks.Check(name=checks.FLIPS, passed=False, figures={"figure": 0.8999, "bound": 0.9}),
            "Mirror images keep 89.99 % of the decisions (must be at least 90.00).",
        ),
        (
            checks.Check(name=checks.BATCH, passed=False, figures={"figure": 0.002, "bound": 0.001}),
            "Alone and in a batch, an image's outputs differ by 0.002 (must be at most 0.001).",
        ),
        (
            checks.Check(
                name=checks.CLASS_DROP,
                passed=False,
                figures={"metric": "recall", "class": "basophil", "drop": 0.0503, "bound": 0.05},
            ),
            "The recall of basophil falls by 5.03 points; 5.00 are allowed.",
        ),
        (
            checks.Check(
                name=checks.CLASS_DROP, figures={"metric": "recall", "class": "basophil", "drop": 0.0, "bound": 0.05}
            ),
            "No class's recall falls.",
        ),
    ],
)
def test_a_sentence_tells_figure_and_bound_apart(check: checks.Check, sentence: str) -> None:
    assert wording.sentence(check) == sentence
