"""Arrays of an .npz file: with labels or masks, with and without splits, and what is refused."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from terracyte.core import paths
from terracyte.ingest.sources import npz, npz_file
from terracyte.ingest.sources.npz import members
from tests.conftest import Edit
from tests.ingest.conftest import SIZE, Declare, Ingest, Refusal

CUTS = {"train": 6, "val": 3, "test": 3}


def pixels(count: int, *shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def save(**arrays: Any) -> None:
    np.savez_compressed("cells.npz", **arrays)


def medmnist(**changes: Any) -> dict[str, Any]:
    """Return images and labels for each split, as in MedMNIST's files, with the labels 0, 1, 2 in turn."""
    arrays: dict[str, Any] = {}
    for seed, (split, count) in enumerate(CUTS.items()):
        arrays[f"{split}_images"] = pixels(count, SIZE, SIZE, 3, seed=seed)
        arrays[f"{split}_labels"] = (np.arange(count, dtype=np.uint8) % 3)[:, None]
    return arrays | changes


@pytest.fixture
def blood(declare: Declare) -> None:
    declare("blood", source="npz", path="cells.npz")


@pytest.fixture
def mars(declare: Declare) -> None:
    declare("mars", source="npz", path="cells.npz")


def test_arrays_of_splits_give_the_split_test_first(
    blood: None, ingest: Ingest, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays = medmnist()
    save(**arrays)
    images, manifest = ingest("blood")
    assert manifest["declared_split"].tolist() == ["test"] * 3 + ["validation"] * 3 + ["train"] * 6
    assert manifest["label"].tolist() == [0, 1, 2] * 4
    assert manifest["name"].iloc[[0, 3, 6]].tolist() == ["test_images[0]", "val_images[0]", "train_images[0]"]
    assert "note: cells.npz already has a split (train 6, validation 3, test 3), which" in capsys.readouterr().err
    stored = np.concatenate([arrays[f"{split}_images"] for split in ("test", "val", "train")])
    np.testing.assert_array_equal(images, stored)


def test_images_with_labels_have_no_split_and_are_resized(blood: None, ingest: Ingest) -> None:
    flat = np.repeat(np.array([10, 20, 30], np.uint8), 20 * 24 * 3).reshape(3, 20, 24, 3)
    save(images=flat, labels=np.arange(3))
    images, manifest = ingest("blood")
    assert images.shape == (3, SIZE, SIZE, 3)
    assert images[:, 5, 5, 0].tolist() == [10, 20, 30]
    assert "declared_split" not in manifest


@pytest.mark.parametrize("bright", ["train", "test"])
def test_splits_of_floats_of_two_scales_are_refused(blood: None, refusal: Refusal, bright: str) -> None:
    arrays = {f"{split}_images": np.full((count, SIZE, SIZE, 3), 0.5) for split, count in CUTS.items()}
    save(**medmnist(**arrays | {f"{bright}_images": arrays[f"{bright}_images"] * 255}))
    assert "'test_images' (float64) and" in (line := refusal("blood"))
    assert "(float64) with pixels in different ranges: save all splits alike" in line


def test_floats_of_no_scale_are_refused(blood: None, refusal: Refusal) -> None:
    """Resampled pictures in 0-1 may slightly exceed 1; reading them as 0-255 would make all pictures black."""
    bright = np.full((6, SIZE, SIZE, 3), 0.5)
    bright[3, 0, 0, 0] = 1.0000001
    others = {f"{split}_images": np.full((CUTS[split], SIZE, SIZE, 3), 0.5) for split in ("test", "val")}
    save(**medmnist(train_images=bright, **others))
    assert "up to 1.0000001, which as 0-255 are nearly black: scale them" in refusal("blood")


def test_floats_of_four_bits_are_refused(blood: None, refusal: Refusal) -> None:
    save(images=pixels(3, SIZE, SIZE, 3) % 17.0, labels=np.arange(3))
    assert "'images' has pixels up to 16, which as 0-255 are nearly black" in refusal("blood")


def test_whole_numbers_that_would_be_black_are_refused(blood: None, refusal: Refusal) -> None:
    save(images=pixels(3, SIZE, SIZE, 3).astype(int) % 2, labels=np.arange(3))
    assert "'images' has pixels up to 1, which as 0-255 are nearly black" in refusal("blood")


def test_splits_of_two_scales_are_refused(blood: None, refusal: Refusal) -> None:
    save(**medmnist(train_images=np.full((6, SIZE, SIZE, 3), 0.5)))
    assert "'test_images' (uint8) and 'train_images' (float64) with pixels in different ranges" in refusal("blood")


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_a_declared_range_becomes_0_to_255(blood: None, edit: Edit, ingest: Ingest, kind: type[np.generic]) -> None:
    edit("tasks.blood.pixel_range", [-100, 4000])
    images = np.full((3, SIZE, SIZE, 3), 4000).astype(kind)
    images[:, 0, 0, 0] = [0, 1950, 5000]
    save(images=images, labels=np.arange(3))
    assert ingest("blood")[0][:, 0, 0].tolist() == [[6, 255, 255], [128, 255, 255], [255, 255, 255]]  # 255 * 100 / 4100


def test_a_declared_range_is_not_for_bytes(blood: None, edit: Edit, ingest: Ingest) -> None:
    edit("tasks.blood.pixel_range", [0, 4000])
    arrays = medmnist()
    save(**arrays)
    np.testing.assert_array_equal(ingest("blood")[0][:3], arrays["test_images"])


def test_a_declared_range_is_for_all_splits(blood: None, edit: Edit, refusal: Refusal) -> None:
    edit("tasks.blood.pixel_range", [0, 4000])
    wide = np.full((3, SIZE, SIZE, 3), 2000)
    save(**medmnist(test_images=wide))
    assert "'test_images' (int64) and 'val_images' (uint8) with pixels in different ranges" in refusal("blood")


def test_a_declared_range_is_not_for_nan(blood: None, edit: Edit, refusal: Refusal) -> None:
    edit("tasks.blood.pixel_range", [0, 4000])
    holed = np.where(np.arange(3) == 1, np.nan, np.ones((3, SIZE, SIZE, 3)) * 2000.0)
    save(images=holed, labels=np.arange(3))
    assert "image 0 holds the pixel value nan; save it without NaN" in refusal("blood")


@pytest.mark.parametrize(
    ("low", "high", "values", "expected"),
    [
        (0, 4000, np.linspace(0, 1, 3), "'pixel_range', 0 to 4000: its largest value is 1; give pixels in this one"),
        (0, 4095, np.array([0, 255, 90]), "'pixel_range', 0 to 4095: its largest value is 255; give pixels"),
        (-1, 1, np.array([0, 255, 90]), "'pixel_range', -1 to 1: 67% of its values are outside; give pixels"),
        (1000, 2000, np.array([3, 4, 1500]), "'pixel_range', 1000 to 2000: 67% of its values are outside"),
    ],
)
def test_pixels_of_another_range_are_refused(
    blood: None, edit: Edit, refusal: Refusal, low: int, high: int, values: np.ndarray[Any, Any], expected: str
) -> None:
    edit("tasks.blood.pixel_range", [low, high])
    save(images=np.ones((3, SIZE, SIZE, 3), values.dtype) * values[:, None, None, None], labels=np.arange(3))
    assert expected in refusal("blood")


def test_signed_bytes_have_a_range(blood: None, edit: Edit, ingest: Ingest) -> None:
    edit("tasks.blood.pixel_range", [-128, 127])
    arrays = medmnist()
    moved = {key: (each.astype(int) - 128).astype(np.int8) for key, each in arrays.items() if key.endswith("images")}
    save(**arrays | moved | {"test_images": np.full((3, SIZE, SIZE, 3), -100, np.int8)})
    images = ingest("blood")[0]
    assert images[0, 0, 0, 0] == 28
    np.testing.assert_array_equal(images[6:], arrays["train_images"])


@pytest.mark.parametrize(("images", "labels"), [("x_train", "y_train"), ("X_train", "y_train")])
def test_arrays_may_be_called_as_keras_calls_them(blood: None, ingest: Ingest, images: str, labels: str) -> None:
    arrays = medmnist()
    save(
        **{images: arrays["train_images"], labels: arrays["train_labels"], "x_test": arrays["test_images"]},
        y_test=arrays["test_labels"],
    )
    manifest = ingest("blood")[1]
    assert manifest["declared_split"].tolist() == ["test"] * 3 + ["train"] * 6
    assert manifest["name"].iloc[[0, 3]].tolist() == ["x_test[0]", f"{images}[0]"]
    assert manifest["label"].tolist() == [0, 1, 2] * 3


@pytest.mark.parametrize("other", ["X_train", "x"])
def test_arrays_of_two_meanings_are_refused(blood: None, refusal: Refusal, other: str) -> None:
    save(**{"x_train": pixels(3, SIZE, SIZE, 3), other: pixels(3, SIZE, SIZE, 3), "y_train": np.arange(3)})
    assert f"cells.npz holds the arrays x_train, {other}, y_train; needed: images and labels, or such" in refusal(
        "blood"
    )


def test_truth_values_are_0_and_1(mars: None, declare: Declare, ingest: Ingest) -> None:
    declare("mars", source="npz", path="cells.npz", mask_values={"soil": 0, "bedrock": 1, "big rock": 2})
    images, masks = pixels(4, SIZE, SIZE), pixels(4, SIZE, SIZE, seed=1) % 3
    save(train_images=images, train_masks=masks, test_images=images, test_masks=masks > 1)
    ingest("mars")
    np.testing.assert_array_equal(np.load(paths.masks("mars")), 1 + np.concatenate([masks > 1, masks]))


def test_arrays_may_be_called_x_and_y(blood: None, declare: Declare, ingest: Ingest) -> None:
    others = {"x_ray": pixels(2, 4, 4), "mean_images": pixels(1, 4, 4), "y": np.arange(3)}
    save(X=pixels(3, SIZE, SIZE, 3), labels=np.array([4, 4, 5]), **others)
    declare("blood", source="npz", path="cells.npz", group_column="labels")
    manifest = ingest("blood")[1]
    assert manifest["label"].tolist() == [0, 1, 2]
    assert manifest["declared_group"].tolist() == ["4", "4", "5"]
    assert "declared_split" not in manifest


def test_a_pair_of_no_split_is_refused(blood: None, refusal: Refusal) -> None:
    save(**medmnist(), holdout_images=np.zeros((2, SIZE, SIZE, 3)), holdout_labels=np.zeros(2))
    assert "cells.npz holds 'holdout_images' with labels, but the name is not of a split" in refusal("blood")


def test_labels_may_mean_other_classes_or_none(blood: None, declare: Declare, ingest: Ingest) -> None:
    save(**medmnist(train_labels=np.array([7, 3, 3, 5, 5, 9])))
    meanings = {"0": "basophil", "1": "eosinophil", "2": "immature granulocyte"}
    meanings |= {"3": "basophil", "5": "eosinophil", "7": "immature granulocyte"}
    declare("blood", source="npz", path="cells.npz", class_of=meanings | {"9": None})
    manifest = ingest("blood")[1]
    assert manifest["label"].tolist() == [0, 1, 2, 0, 1, 2, 2, 0, 0, 1, 1]
    assert manifest["name"].iloc[-1] == "train_images[4]"


def test_labels_of_many_digits_are_called_as_they_are_written(blood: None, declare: Declare, ingest: Ingest) -> None:
    meanings = {"1000000": "basophil", "1234567": "eosinophil", "7": "immature granulocyte"}
    save(
        **medmnist(**{f"{split}_labels": np.resize([1_000_000, 1_234_567, 7], count) for split, count in CUTS.items()})
    )
    declare("blood", source="npz", path="cells.npz", class_of=meanings)
    assert ingest("blood")[1]["label"].tolist() == [0, 1, 2] * 4


def test_grey_images_with_masks(mars: None, declare: Declare, ingest: Ingest) -> None:
    masks = np.tile(np.repeat(np.array([0, 1, 2, 3], np.uint8), 4), (2, 16, 1))
    save(images=pixels(2, 16, 16), masks=masks)
    assert ingest("mars")[0].shape == (2, SIZE, SIZE, 1)
    assert np.load("data/mars/raw/masks.npy")[1, 0].tolist() == np.repeat([0, 1, 2, 3], 8).tolist()
    values = {"background": 0, "soil": 40, "bedrock": 80, "big rock": 255}
    save(images=pixels(2, 16, 16, 1), masks=np.array([0, 40, 80, 255], np.uint8)[masks][..., None])
    declare("mars", source="npz", path="cells.npz", mask_values=values)
    ingest("mars")
    assert np.load("data/mars/raw/masks.npy")[1, 0].tolist() == np.repeat([0, 1, 2, 3], 8).tolist()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"pictures": pixels(3, SIZE, SIZE, 3)},
            "holds the arrays pictures; needed: images and labels",
        ),
        (medmnist(images=pixels(3, SIZE, SIZE, 3)), "needed: images and labels, or such a pair for each split"),
        (medmnist(test_labels=np.arange(2)), "'test_labels' has 2 entries, but 'test_images' has 3; each image needs"),
        (medmnist(test_labels=np.zeros((3, 14))), "'test_labels' has shape (3, 14), but 'test_images' has (3, "),
        (
            medmnist(val_images=pixels(3, SIZE, SIZE)),
            "'val_images' has shape (3, 32, 32); it must be (n, h, w, 3): save",
        ),
        (medmnist(val_labels=np.array([0, 1, 5])), "val_images[2]: the label is 5"),
        (
            medmnist(val_labels=np.array([{}, 1, 2], object)),
            "'val_labels' is an object array, which is never",
        ),
    ],
)
def test_what_cannot_be_read_is_refused(blood: None, refusal: Refusal, arrays: dict[str, Any], message: str) -> None:
    save(**arrays)
    assert message in refusal("blood")


def test_a_value_of_no_meaning_in_a_mask_is_refused(mars: None, refusal: Refusal) -> None:
    masks = np.zeros((2, SIZE, SIZE), np.uint8)
    masks[1, 3, 4] = 255
    save(images=pixels(2, SIZE, SIZE), masks=masks)
    line = refusal("mars")
    assert "cells.npz: 'masks[1]' holds 255 in 1 pixels, first at row 3, column 4" in line


def test_the_advice_fits_the_masks_of_all_splits(mars: None, refusal: Refusal) -> None:
    of_train = np.zeros((2, SIZE, SIZE), np.uint8)
    of_train[:, 0, :3] = 10, 20, 30
    of_test = np.where(of_train == 10, 255, 0)
    images = pixels(2, SIZE, SIZE)
    save(train_images=images, train_masks=of_train, test_images=images, test_masks=of_test.astype(np.uint8))
    assert "the masks together hold 0, 10, 20, 30, 255" in refusal("mars")


def test_masks_of_another_size_are_refused(mars: None, refusal: Refusal) -> None:
    save(images=pixels(4, SIZE, SIZE), masks=np.ones((4, SIZE, 8), np.uint8))
    assert f"'masks' has shape (4, {SIZE}, 8); it must be (4, {SIZE}, {SIZE}): each mask must have" in refusal("mars")


def test_what_happens_to_masks_is_told(declare: Declare, ingest: Ingest, capsys: pytest.CaptureFixture[str]) -> None:
    declared = {"background": 0, "soil": 10, "bedrock": 20, "big rock": 30}
    declare("mars", source="npz", path="cells.npz", mask_values=declared, snap_masks=True)
    masks = np.repeat(np.array([0, 10, 20, 30], np.uint8), SIZE // 2)[None].repeat(2 * SIZE, 0)
    dotted = np.where(masks == 30, 12, masks)  # a quarter of the pixels have no declared value
    dotted[0, 0] = 30  # lies between the pixels that are sampled
    save(images=pixels(2, 2 * SIZE, 2 * SIZE), masks=np.stack([masks, dotted]))
    ingest("mars")
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: cells.npz")]
    assert f"{SIZE**2 // 4} values (12.50% of the masks' pixels) were replaced" in notes[0]
    assert "some masks no longer show a class: big rock in 1 of 2;" in notes[1]


def test_a_fraction_in_a_mask_is_refused(mars: None, refusal: Refusal) -> None:
    masks = np.ones((4, SIZE, SIZE))
    masks[2, 0, 0] = 1.5
    save(images=pixels(4, SIZE, SIZE), masks=masks)
    assert "[2]' holds 1.5; classes must be whole numbers" in refusal("mars")


@pytest.mark.parametrize(
    ("patients", "wanted"),
    [
        (np.array([7, 7, 1]), ["7", "7", "1"]),
        (np.array([[7.0], [7.0], [1.0]]), ["7", "7", "1"]),
        (np.array(["Ada ", "e\u0301", ""]), ["Ada", "\u00e9", ""]),
    ],
)
def test_an_array_declares_groups(
    patients: Any, wanted: list[str], declare: Declare, ingest: Ingest, capsys: pytest.CaptureFixture[str]
) -> None:
    declare("blood", source="npz", path="cells.npz", group_column="patient")
    save(images=pixels(3, SIZE, SIZE, 3), labels=np.arange(3), patient=patients)
    assert ingest("blood")[1]["declared_group"].tolist() == wanted
    told = "'patient' is empty for 1 of 3 images: each of these is its own group" in capsys.readouterr().err
    assert told == ("" in wanted)


def test_labels_may_be_the_names_of_classes(declare: Declare, ingest: Ingest) -> None:
    declare("blood", source="npz", path="cells.npz", class_of={"junk": None})
    named = np.array([["Immature-granulocyte"], ["junk"], ["eosinophil"], ["basophil "]])
    save(images=pixels(4, SIZE, SIZE, 3), labels=named)
    assert ingest("blood")[1]["label"].tolist() == [2, 1, 0]


def test_a_name_that_is_no_class_is_refused(blood: None, refusal: Refusal) -> None:
    save(images=pixels(3, SIZE, SIZE, 3), labels=np.array(["basophil", "cat", "eosinophil"]))
    assert "'labels' holds the label cat, which has no class: give it one in 'sources.blood.class_of'" in refusal(
        "blood"
    )


def test_a_number_that_is_no_class_is_told_with_the_key_that_gives_it_one(blood: None, refusal: Refusal) -> None:
    save(images=pixels(3, SIZE, SIZE, 3), labels=np.array([1, 2, 9]))
    assert "the label is 9; it must be a whole number from 0" in (line := refusal("blood"))
    assert "or be given a class in 'sources.blood.class_of'" in line


def test_each_split_has_its_groups_without_those_left_out(declare: Declare, ingest: Ingest) -> None:
    arrays = medmnist(train_labels=np.array([9, 2, 9, 0, 1, 9]))
    arrays |= {f"{split}_patient": np.arange(count) + 10 * count for split, count in CUTS.items()}
    save(**arrays)
    meanings = {"0": "basophil", "1": "eosinophil", "2": "immature granulocyte", "9": None}
    declare("blood", source="npz", path="cells.npz", class_of=meanings, group_column="patient")
    _, manifest = ingest("blood")
    assert manifest["declared_group"].tolist() == ["30", "31", "32"] * 2 + ["61", "63", "64"]


@pytest.mark.parametrize(
    ("patients", "says"),
    [
        (np.arange(2), "'patient' has 2 entries, but 'images' has 3"),
        (np.zeros((3, 2)), "'patient' has shape (3, 2), but 'images' has (3, 32, 32, 3); one group per image"),
        (np.array([1, 1.5, 2]), "'patient' holds 1.5; groups must be whole numbers"),
        (np.array([b"a", b"b", b"c"]), "'patient' has type |S1; it must hold integers or floats or text"),
        (np.array(["\ud800"] * 3), "'patient' holds characters that are not valid text"),
        (np.array([0x110000] * 3, np.uint32).view("U1"), "'patient' holds characters that are not valid text"),
        (np.array([2**31] * 3, ">u4").view(">U1"), "'patient' holds characters that are not valid text"),
        (None, "needed: patient"),
    ],
)
def test_groups_that_cannot_be_read_are_refused(patients: Any, says: str, declare: Declare, refusal: Refusal) -> None:
    declare("blood", source="npz", path="cells.npz", group_column="patient")
    given = {} if patients is None else {"patient": patients}
    save(images=pixels(3, SIZE, SIZE, 3), labels=np.arange(3), **given)
    assert says in refusal("blood")


def test_a_header_of_a_later_version_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "any.npz", "w") as archive, archive.open("images.npy", "w") as stream:
        np.lib.format.write_array(stream, np.arange(6).reshape(2, 3), version=(2, 0))
    (member,) = members(tmp_path / "any.npz", "images")
    np.testing.assert_array_equal(member.read(), [[0, 1, 2], [3, 4, 5]])


def test_a_header_by_python_2_is_read(tmp_path: Path) -> None:
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (2L, 3L), }\n"
    with zipfile.ZipFile(tmp_path / "any.npz", "w") as archive:
        archive.writestr("images.npy", b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + bytes(range(6)))
    (member,) = members(tmp_path / "any.npz", "images")
    np.testing.assert_array_equal(member.read(), [[0, 1, 2], [3, 4, 5]])


def test_a_label_without_a_meaning_is_refused(blood: None, declare: Declare, refusal: Refusal) -> None:
    save(**medmnist())
    declare("blood", source="npz", path="cells.npz", class_of={"0": "basophil", "1": "eosinophil"})
    assert "holds the label 2, which has no class" in refusal("blood")


def test_a_missing_file_is_named(blood: None, refusal: Refusal) -> None:
    assert not Path("cells.npz").exists()
    assert "cells.npz is missing" in refusal("blood")


def test_npz_images_that_are_left_out_take_their_pixels_and_names_along(declare: Declare, ingest: Ingest) -> None:
    arrays = medmnist(train_labels=np.array([9, 2, 9, 0, 1, 9]))
    save(**arrays)
    meanings = {"0": "basophil", "1": "eosinophil", "2": "immature granulocyte", "9": None}
    declare("blood", source="npz", path="cells.npz", class_of=meanings)
    images, manifest = ingest("blood")
    training = manifest["declared_split"] == "train"
    assert manifest.loc[training, "label"].tolist() == [2, 0, 1]
    assert manifest.loc[training, "name"].tolist() == [f"train_images[{row}]" for row in (1, 3, 4)]
    np.testing.assert_array_equal(images[training], arrays["train_images"][[1, 3, 4]])


def test_groups_and_names_follow_the_rows_of_later_chunks(
    declare: Declare, ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npz_file, "_BATCH_BYTES", 2 * SIZE * SIZE * 3)
    arrays = medmnist()
    save(**arrays, **{f"{split}_patient": np.arange(count) + 10 * count for split, count in CUTS.items()})
    declare("blood", source="npz", path="cells.npz", group_column="patient")
    images, manifest = ingest("blood")
    training = manifest["declared_split"] == "train"
    assert manifest.loc[training, "declared_group"].tolist() == [str(60 + row) for row in range(6)]
    assert manifest.loc[training, "name"].tolist() == [f"train_images[{row}]" for row in range(6)]
    np.testing.assert_array_equal(images[training], arrays["train_images"])


def test_a_dark_image_at_the_end_does_not_set_the_scale(
    blood: None, ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npz, "_CHUNK_BYTES", 1)
    images = pixels(3, SIZE, SIZE, 3).astype(np.float64)
    images[2] %= 2
    save(images=images, labels=np.arange(3))
    np.testing.assert_array_equal(ingest("blood")[0], images)


def test_values_outside_the_range_are_a_share_of_all(
    blood: None, edit: Edit, ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npz, "_CHUNK_BYTES", 1)
    edit("tasks.blood.pixel_range", [0, 1000])
    images = np.full((6, SIZE, SIZE, 3), 500)
    images[:2] = 1200
    save(images=images, labels=np.arange(6) % 3)
    assert ingest("blood")[0][:, 0, 0, 0].tolist() == [255] * 2 + [128] * 4
