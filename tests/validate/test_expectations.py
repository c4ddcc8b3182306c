"""Failed fatal expectations stop and name the value; oddities are recorded; both are on a page."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from terracyte import params, tasks
from terracyte.core import paths
from terracyte.core.errors import InputError
from terracyte.images.statistics import describe, describe_masks
from terracyte.tasks.task import Task
from terracyte.validate import expectations
from tests.conftest import TASKS, Edit

Change = Callable[[pd.DataFrame], object]


pytestmark = pytest.mark.usefixtures("project")


@functools.cache
def parsed(text: str) -> params.Params:
    return params.load()


def settings() -> params.Params:
    """The project's parameters; parsed once for all tests that do not change them."""
    return parsed(Path("params.yaml").read_text(encoding="utf-8"))


def write(name: str, images: int = 16) -> tuple[Task, pd.DataFrame]:
    """Write noise pictures without a defect in raw form; each holds one class, in turn (mars: beside background)."""
    task = tasks.make(name, settings())
    random = np.random.default_rng(0)
    pixels = random.integers(0, 255, (images, *task.image_shape), np.uint8)
    turn = np.arange(images) % len(task.classes)
    paths.raw(name).mkdir(parents=True)
    np.save(paths.images(name), pixels)
    manifest = describe(pixels)
    if task.dense:
        masks = random.integers(0, 2, (images, *task.image_shape[:2]), np.uint8) * turn[:, None, None].astype(np.uint8)
        masks[np.arange(images), 0, np.arange(images)] = turn == 0  # at least two classes in each mask, no mask twice
        np.save(paths.masks(name), masks)
        manifest = pd.concat([manifest, describe_masks(masks, len(task.classes))], axis=1)
    manifest.insert(0, "id", np.arange(images))
    manifest.insert(1, "name", [f"picture {number}" for number in range(images)])
    return task, manifest if task.dense else manifest.assign(label=turn)


def raw(task: Task, manifest: pd.DataFrame) -> dict[str, Any]:
    return expectations.validate_raw(task, manifest, settings().validate[task.name])


def cleaned(task: Task, manifest: pd.DataFrame) -> dict[str, Any]:
    reasons = ["exact_duplicate", "off_distribution"]
    return expectations.validate_cleaned(task, manifest, reasons, settings().validate[task.name])


def failures(summary: dict[str, Any]) -> dict[str, int]:
    """Return the number of unexpected rows, by the column of each expectation that fails."""
    return {each["column"]: each["unexpected_count"] for each in summary["expectations"] if not each["success"]}


def put(column: str, row: int, value: object) -> Change:
    return lambda manifest: manifest.__setitem__(column, manifest[column].mask(manifest["id"] == row, value))


@pytest.mark.parametrize("name", TASKS)
def test_sound_data_pass_and_the_summary_repeats(name: str, edit: Edit) -> None:
    edit(f"validate.{name}.class_share", {"low": 0, "high": 1})
    task, manifest = write(name)
    summary = raw(task, manifest)
    assert summary["success"], failures(summary)
    assert (summary["suite"], summary["rows"]) == ("raw", 16)
    assert json.dumps(raw(task, manifest)) == json.dumps(summary)
    assert "✗" not in expectations.describe(summary)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("blood", put("label", 3, 8), "'each label is one of 0 to 7' .* 1 of 16, first 8 in 'picture 3': correct"),
        ("blood", put("id", 5, 6), r"'ids count up .* first \[6, 5\] in 'picture 5'"),
        ("blood", put("name", 1, "picture 0"), "'names are unique' .* 2 of 16, first 'picture 0'"),
        ("blood", put("contrast", 2, np.nan), "'contrast is known for each image' .* first None in 'picture 2'"),
        ("blood", put("saturation", 2, np.nan), "'saturation is known for each image' .* first None in 'picture 2'"),
        ("mars", put("pixels_2", 4, 5), r"'each of the 64x128 pixels .* \[\d+, \d+, 5, \d+, \d+\] in 'picture 4'"),
    ],
)
def test_a_broken_manifest_stops_with_the_value_and_the_image(name: str, change: Change, message: str) -> None:
    task, manifest = write(name)
    change(manifest)
    with pytest.raises(InputError, match=f"^{name}, raw .*{message}.*; see data/docs/{name}/raw.html"):
        raw(task, manifest)
    assert "unexpected values found" in expectations.page(name, "raw").read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "absent"), [("blood", "platelet"), ("mars", "big rock")])
def test_an_absent_class_stops_but_background_may_be_absent(name: str, absent: str) -> None:
    task, manifest = write(name)
    if task.dense:
        manifest["pixels_1"] += manifest["pixels_0"] + manifest["pixels_4"]
        manifest[["pixels_0", "pixels_4"]] = 0
    else:
        manifest["label"] = manifest["label"].replace(7, 0)
    with pytest.raises(InputError, match=f"'each class is present' does not hold for 1 of .*, first 0 in '{absent}'"):
        raw(task, manifest)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (
            np.zeros((16, 96, 95, 3), np.uint8),
            r"shape that params.yaml declares.*\['96x95x3', '96x96x3'\] in 'images.npy'",
        ),
        (np.zeros((15, 96, 96, 3), np.uint8), "one entry per row .* first 15 in 'images.npy'"),
        (np.zeros((16, 96, 96, 3), np.float32), "stored as uint8' .* first 'float32'"),
    ],
)
def test_arrays_that_do_not_fit_stop(pixels: np.ndarray[Any, Any], message: str) -> None:
    task, manifest = write("blood")
    np.save(paths.images("blood"), pixels)
    with pytest.raises(InputError, match=message):
        raw(task, manifest)


def test_pixels_between_0_and_1_stop() -> None:
    task, manifest = write("blood")
    with pytest.raises(InputError, match=r"range 0 to 255, not 0 to 1' .* first 0.5 in 'images.npy'"):
        raw(task, manifest.assign(brightness=0.5, contrast=0.4))
    raw(task, manifest.assign(brightness=0.5, contrast=3.0))  # a few bright dots on black


def test_masks_that_do_not_match_in_number_stop() -> None:
    task, manifest = write("mars")
    np.save(paths.masks("mars"), np.zeros((15, 64, 128), np.uint8))
    with pytest.raises(InputError, match=r"one entry per row .* 1 of 2, first 15 in 'masks.npy'"):
        raw(task, manifest)


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b""])
def test_a_broken_array_is_one_line(damage: Callable[[bytes], bytes]) -> None:
    task, manifest = write("blood")
    paths.images("blood").write_bytes(damage(paths.images("blood").read_bytes()))
    with pytest.raises(InputError, match=r"images.npy is damaged .*: delete it and run `dvc repro`"):
        raw(task, manifest)


def test_oddities_are_recorded_and_do_not_stop() -> None:
    task, manifest = write("blood")
    for column, row, value in [
        ("brightness", 0, 254.5),
        ("contrast", 1, 0.0),
        ("content_hash", 2, "x"),
        ("content_hash", 3, "x"),
        ("content_hash", 4, "y"),
        ("content_hash", 12, "y"),  # of the same class as 4
    ]:
        put(column, row, value)(manifest)
    summary = raw(task, manifest)
    assert not summary["success"]
    assert failures(summary) == {"brightness": 1, "contrast": 1, "repeats": 4, "targets": 2}
    (bright,) = [each for each in summary["expectations"] if each["column"] == "brightness" and not each["success"]]
    assert (bright["severity"], bright["unexpected_percent"]) == ("recorded", 6.25)
    assert bright["examples"] == [{"row": "picture 0", "value": 254.5}]
    assert "✗ recorded  images: no image is oddly dark or bright" in expectations.describe(summary)


def test_odd_masks_and_shares_are_recorded() -> None:
    task, manifest = write("mars")
    manifest["mask_constant"] = manifest["id"] == 0
    manifest["mask_hash"] = manifest["mask_hash"].mask(manifest["id"] < 4, "m")
    # hardly any big rock is left
    manifest["pixels_0"] += manifest["pixels_4"] - 1
    manifest["pixels_4"] = 1
    summary = raw(task, manifest)
    assert failures(summary) == {"mask_constant": 1, "mask_repeats": 4, "share": 1}


def test_a_given_split_is_judged_where_there_is_one() -> None:
    task, manifest = write("blood")
    without = raw(task, manifest)
    given = manifest.assign(declared_split=["train", "test"] * 8)
    sound = raw(task, given)
    assert failures(sound) == failures(without)
    assert len(sound["expectations"]) == len(without["expectations"]) + 2
    given["content_hash"] = given["content_hash"].take([0, 0, *range(2, 16)]).to_numpy()
    assert failures(raw(task, given))["splits"] == 2
    given.loc[3, "declared_split"] = "dev"
    with pytest.raises(InputError, match=r"given to train, validation or test.*'dev' in 'picture 3'"):
        raw(task, given)


def test_the_page_is_whole_without_a_network() -> None:
    task, manifest = write("blood")
    put("name", 0, "<script>alert(1)</script>")(manifest)
    put("name", 1, "<script>alert(1)</script>")(manifest)
    with pytest.raises(InputError):
        raw(task, manifest)
    text = expectations.page("blood", "raw").read_text(encoding="utf-8")
    assert "http" not in text
    assert "<script>alert" not in text
    assert "names are unique" in text
    assert "pixels are stored as uint8" in text  # of the table before


def test_cleaned_data_pass() -> None:
    task, manifest = write("blood")
    dropped = manifest["id"] == 8
    summary = cleaned(task, manifest.assign(keep=~dropped, reason=np.where(dropped, "off_distribution", "")))
    assert (summary["suite"], summary["rows"]) == ("cleaned", 16)
    assert all(each["success"] for each in summary["expectations"] if each["severity"] == "fatal")
    assert expectations.page("blood", "cleaned").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keep": False, "reason": "bad mood"}, "'each dropped image has a known reason' .* first 'bad mood'"),
        ({"keep": False, "reason": ""}, "'each dropped image has a known reason' .* first '' in 'picture 0'"),
        ({"keep": True, "reason": "off_distribution"}, "'no kept image has a reason to go' .* in 'picture 0'"),
        ({"content_hash": "x"}, "'no image content is kept twice' .* first 'x'"),
        ({"keep": False, "reason": "exact_duplicate", "label": 0}, "'each class is present' .* in 'basophil'"),
    ],
)
def test_inconsistent_cleaning_stops(change: dict[str, Any], message: str) -> None:
    task, manifest = write("blood")
    manifest = manifest.assign(keep=True, reason="")
    for column, value in change.items():
        # both images of the first class
        manifest[column] = manifest[column].mask(manifest["id"].isin([0, 8]), value)
    manifest["keep"] = manifest["keep"].astype(bool)
    with pytest.raises(InputError, match=f"^blood, cleaned .*{message}"):
        cleaned(task, manifest)


def test_bounds_in_the_wrong_order_are_refused(edit: Edit) -> None:
    edit("validate.blood.brightness", [200, 100])
    with pytest.raises(InputError, match=r"'validate.<task>.brightness' is 200 to 100"):
        params.load()


def test_shares_are_of_all_pixels_and_have_both_bounds(edit: Edit) -> None:
    edit("validate.mars.class_share", {"low": 0.05, "high": 0.2})
    task, manifest = write("mars")
    manifest[[f"pixels_{k}" for k in range(5)]] = [4096, 2048, 1024, 512, 512]
    (shares,) = [each for each in raw(task, manifest)["expectations"] if each["column"] == "share"]
    assert [(each["row"], each["value"]) for each in shares["examples"]] == [(task.classes[1], 0.25)]


def test_as_many_repeats_as_declared_are_expected(edit: Edit) -> None:
    edit("validate.mars.repeats_high", 2)
    task, manifest = write("mars")
    for column in ("content_hash", "mask_hash"):
        manifest[column] = manifest[column].mask(manifest["id"] < 2, "twice").mask(manifest["id"] > 12, "thrice")
    found = failures(raw(task, manifest))
    assert (found["repeats"], found["mask_repeats"]) == (3, 3)
    assert "targets" not in found  # the same mask each time


def test_a_black_image_among_others_stops_nothing() -> None:
    task, manifest = write("blood")
    for column in ("brightness", "contrast"):
        put(column, 3, 0.0)(manifest)
    assert failures(raw(task, manifest))["brightness"] == 1


def test_oddities_of_kept_images_are_recorded() -> None:
    task, manifest = write("blood")
    dropped = manifest["id"] == 8
    manifest = manifest.assign(keep=~dropped, reason=np.where(dropped, "off_distribution", ""))
    for row in (7, 8):
        put("brightness", row, 254.5)(manifest)
    assert failures(cleaned(task, manifest))["brightness"] == 1


def test_one_picture_under_two_masks_is_recorded() -> None:
    task, manifest = write("mars")
    manifest["content_hash"] = manifest["content_hash"].mask(manifest["id"] < 2, "x")
    assert failures(raw(task, manifest))["targets"] == 2


def test_masks_of_another_shape_stop() -> None:
    task, manifest = write("mars")
    np.save(paths.masks("mars"), np.zeros((16, 64, 127), np.uint8))
    with pytest.raises(InputError, match=r"shape that params.yaml declares.*\['64x127', '64x128'\] in 'masks.npy'"):
        raw(task, manifest)
