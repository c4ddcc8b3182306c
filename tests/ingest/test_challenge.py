"""The challenges' .npz files: the forms they may have, and what is refused."""

import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from terracyte import params, tasks
from terracyte.core import paths
from terracyte.ingest.sources import npz, read
from tests.ingest.conftest import SIZE, Declare, Ingest, Refusal

Array = NDArray[Any]
Change = Callable[[Array], Array]


@pytest.fixture
def images() -> Array:
    """Images (6, h, w, 3) uint8, which contain both 0 and 255."""
    images = np.random.default_rng(0).integers(0, 256, (6, SIZE, SIZE, 3), np.uint8)
    images[0, 0, 0] = [0, 1, 255]
    return images


@pytest.fixture
def labels() -> Array:
    return np.array([0, 1, 2, 0, 1, 2], np.uint8)


@pytest.fixture
def pairs() -> Array:
    """(5, 2, h, w) uint8: grey images and masks with four classes."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (5, SIZE, SIZE), np.uint8)
    images[0, 0, :2] = [0, 255]
    return np.stack([images, generator.integers(0, 4, images.shape, np.uint8)], axis=1)


@pytest.fixture
def blood(declare: Declare) -> Declare:
    """Write a blood file and declare it."""

    def save(**arrays: Any) -> None:
        np.savez("blood.npz", **arrays)
        declare("blood", source="challenge", path="blood.npz")

    return save


@pytest.fixture
def mars(declare: Declare) -> Declare:
    """Write a mars file and declare it."""

    def save(**arrays: Any) -> None:
        np.savez("mars.npz", **arrays)
        declare("mars", source="challenge", path="mars.npz")

    return save


@pytest.mark.parametrize(
    ("change_images", "change_labels"),
    [
        pytest.param(lambda x: x, lambda y: y, id="as bytes"),
        pytest.param(lambda x: x, lambda y: y[:, None], id="labels in a column"),
        pytest.param(lambda x: x.astype(np.int64), lambda y: y.astype(np.int64), id="int64"),
        pytest.param(lambda x: x.astype(">u2"), lambda y: y.astype(np.int8), id="big-endian"),
        pytest.param(lambda x: x.astype(np.float32) / 255, lambda y: y.astype(np.float32), id="float32 in 0-1"),
        pytest.param(lambda x: x.astype(np.float64), lambda y: y.astype(np.float64), id="float64 in 0-255"),
        pytest.param(lambda x: x.astype(np.float16) / 255, lambda y: y, id="float16 in 0-1"),
        pytest.param(np.asfortranarray, lambda y: y, id="Fortran order"),
    ],
)
def test_every_form_of_a_blood_file_gives_the_same_raw_form(
    blood: Declare, ingest: Ingest, images: Array, labels: Array, change_images: Change, change_labels: Change
) -> None:
    blood(images=change_images(images), labels=change_labels(labels))
    raw, manifest = ingest("blood")
    np.testing.assert_array_equal(raw, images)
    assert raw.dtype == np.uint8
    assert manifest["label"].tolist() == labels.tolist()
    assert manifest["name"].tolist() == [f"images[{row}]" for row in range(6)]


@pytest.mark.parametrize(
    ("change_images", "dtype"),
    [
        pytest.param(lambda x: x, np.uint8, id="as bytes"),
        pytest.param(lambda x: x, np.float64, id="float64, as the challenge has it"),
        pytest.param(lambda x: x / 255, np.float32, id="images in 0-1, masks as float"),
    ],
)
def test_every_form_of_a_mars_file_gives_the_same_raw_form(
    mars: Declare, ingest: Ingest, pairs: Array, change_images: Change, dtype: type
) -> None:
    changed: Array = np.stack([change_images(pairs[:, 0]), pairs[:, 1]], axis=1).astype(dtype)
    mars(training_set=changed)
    raw, manifest = ingest("mars")
    np.testing.assert_array_equal(raw[..., 0], pairs[:, 0])
    np.testing.assert_array_equal(np.load(paths.masks("mars")), pairs[:, 1])
    assert manifest["pixels_3"].tolist() == (pairs[:, 1] == 3).sum(axis=(1, 2)).tolist()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda x: x, id="as bytes"),
        pytest.param(lambda x: x.astype(np.float64), id="float64, as the challenge has it"),
        pytest.param(lambda x: x.astype(np.float32) / 255, id="float32 in 0-1"),
    ],
)
def test_every_form_of_a_test_set_gives_the_same_unlabelled_images(
    mars: Declare, ingest: Ingest, monkeypatch: pytest.MonkeyPatch, pairs: Array, change: Change
) -> None:
    monkeypatch.setattr(npz, "_CHUNK_BYTES", 2 * SIZE * SIZE)  # chunks of at most two images
    test_set = pairs[::-1, 0].copy()
    test_set[0] %= 2  # a single dark image must not decide the scale
    mars(training_set=pairs, test_set=change(test_set))
    raw, manifest = ingest("mars")
    unlabelled = np.load(paths.unlabelled("mars"), mmap_mode="r")
    assert unlabelled.dtype == np.uint8
    np.testing.assert_array_equal(unlabelled, test_set[..., None])
    assert len(raw) == len(manifest) == len(pairs)


def test_a_test_set_changes_nothing_about_the_rest(mars: Declare, ingest: Ingest, pairs: Array) -> None:
    mars(training_set=pairs)
    ingest("mars")
    without = {file.name: file.read_bytes() for file in paths.raw("mars").iterdir()}
    mars(training_set=pairs, test_set=pairs[:2, 0])
    ingest("mars")
    assert {file.name: file.read_bytes() for file in paths.raw("mars").iterdir() if file.name in without} == without
    assert {file.name for file in paths.raw("mars").iterdir()} - set(without) == {"unlabelled.npy"}


def test_channels_of_a_test_set_come_first_in_the_file_and_last_in_the_raw_form(
    declare: Declare, ingest: Ingest, pairs: Array
) -> None:
    coloured = np.concatenate([pairs[:, [0, 0]], pairs], axis=1)
    test_set = np.random.default_rng(1).integers(0, 256, (3, 3, SIZE, SIZE), np.uint8)
    np.savez("mars.npz", training_set=coloured, test_set=test_set)
    declare("mars", source="challenge", path="mars.npz", channels=3)
    ingest("mars")
    np.testing.assert_array_equal(np.load(paths.unlabelled("mars")), np.moveaxis(test_set, 1, -1))


def test_compressed_files_are_read(ingest: Ingest, declare: Declare, images: Array, labels: Array) -> None:
    np.savez_compressed("blood.npz", images=images.astype(np.float32), labels=labels)
    declare("blood", source="challenge", path="blood.npz")
    np.testing.assert_array_equal(ingest("blood")[0], images)


def test_a_dark_float_image_does_not_set_the_scale(
    blood: Declare, ingest: Ingest, images: Array, labels: Array
) -> None:
    images[2] = images[2] % 2  # this image alone would be taken for 0-1
    blood(images=images.astype(np.float64), labels=labels)
    np.testing.assert_array_equal(ingest("blood")[0], images)


def test_background_may_be_absent(mars: Declare, ingest: Ingest, pairs: Array) -> None:
    pairs[:, 1] = np.maximum(pairs[:, 1], 1)
    mars(training_set=pairs)
    assert ingest("mars")[1]["pixels_0"].sum() == 0


def test_memory_does_not_grow_with_the_file(blood: Declare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npz, "_CHUNK_BYTES", 2**18)
    images = np.full((400, SIZE, SIZE, 3), 77.0)  # 9.8 MB
    blood(images=images, labels=np.zeros(400))
    settings = params.load()
    tracemalloc.start()
    count = sum(len(b.names) for b in read(tasks.make("blood", settings), settings.experiment.sources["blood"]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 400
    assert peak < images.nbytes / 5


def refuse_row(value: float, row: int = 4, dtype: type = np.float64) -> Change:
    """Return a change that puts a bad value at the end of one image or mask, or in place of one label."""

    def change(array: Array) -> Array:
        changed: Array = array.astype(dtype)
        changed.reshape(len(changed), -1)[row, -1] = value
        return changed

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(refuse_row(np.nan), "image 4 holds the pixel value nan", id="NaN"),
        pytest.param(refuse_row(np.inf), "image 4 holds the pixel value inf", id="infinity"),
        pytest.param(refuse_row(255.5), "image 4 holds the pixel value 255.5", id="float beyond 255"),
        pytest.param(refuse_row(-0.25), "image 4 holds the pixel value -0.25", id="negative float"),
        pytest.param(refuse_row(256, dtype=np.int64), "image 4 holds the pixel value 256", id="integer beyond 255"),
        pytest.param(refuse_row(-1, dtype=np.int8), "holds the pixel value -", id="negative integer"),
        pytest.param(lambda x: x[:, :16], "has shape (6, 16, 32, 3); it must be (n, 32, 32, 3)", id="wrong size"),
        pytest.param(lambda x: x[..., 0], "has shape (6, 32, 32); it must be (n, 32, 32, 3)", id="wrong axes"),
        pytest.param(lambda x: x[:5], "'labels' has shape (6,), but 'images' has (5, 32, 32, 3)", id="unequal number"),
        pytest.param(lambda x: x[:0], "'images' has shape (0, 32, 32, 3): it is empty", id="empty"),
        pytest.param(lambda x: x > 9, "'images' has pixels up to 1, which as 0-255 are nearly black", id="bool"),
        pytest.param(lambda x: x.astype(object), "'images' is an object array, which is never unpickled", id="object"),
    ],
)
def test_bad_images_are_refused(
    blood: Declare, refusal: Refusal, images: Array, labels: Array, change: Change, expected: str
) -> None:
    blood(images=change(images), labels=labels)
    assert expected in refusal("blood")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(refuse_row(3), "images[4]: the label is 3.0; it must be a whole number from 0", id="beyond"),
        pytest.param(refuse_row(-1, dtype=np.int64), "images[4]: the label is -1", id="negative"),
        pytest.param(refuse_row(0.5), "images[4]: the label is 0.5", id="fraction"),
        pytest.param(refuse_row(np.nan), "images[4]: the label is nan", id="NaN"),
        pytest.param(lambda y: y % 2, "holds no image of class 'immature granulocyte' (2)", id="absent class"),
        pytest.param(lambda y: np.eye(3)[y], "'labels' has shape (6, 3)", id="one-hot"),
        pytest.param(lambda y: y.astype(str), "'labels' has type <U", id="text"),
        pytest.param(lambda y: y.astype(object), "'labels' is an object array", id="object"),
    ],
)
def test_bad_labels_are_refused(
    blood: Declare, refusal: Refusal, images: Array, labels: Array, change: Change, expected: str
) -> None:
    blood(images=images, labels=change(labels))
    assert expected in refusal("blood")


@pytest.mark.parametrize(
    ("part", "change", "expected"),
    [
        pytest.param(1, refuse_row(4), "training_set[4]: the mask is 4.0 at row 31, column 31", id="beyond"),
        pytest.param(1, refuse_row(1.5), "training_set[4]: the mask is 1.5 at row 31, column 31", id="fraction"),
        pytest.param(1, refuse_row(np.nan), "training_set[4]: the mask is nan", id="NaN in a mask"),
        pytest.param(1, lambda m: np.minimum(m, 2), "holds no pixel of class 'big rock' (3)", id="absent class"),
        pytest.param(0, refuse_row(np.nan), "image 4 holds the pixel value nan", id="NaN in an image"),
    ],
)
def test_bad_pairs_are_refused(
    mars: Declare, refusal: Refusal, pairs: Array, part: int, change: Change, expected: str
) -> None:
    parts = [pairs[:, 0], pairs[:, 1]]
    parts[part] = change(parts[part])
    mars(training_set=np.stack(parts, axis=1))
    assert expected in refusal("mars")


@pytest.mark.parametrize("shape", [(5, SIZE, SIZE), (5, 1, SIZE, SIZE), (5, 2, SIZE, 16)])
def test_another_shape_of_pairs_is_refused(mars: Declare, refusal: Refusal, shape: tuple[int, ...]) -> None:
    mars(training_set=np.zeros(shape))
    assert f"has shape {shape}; it must be (n, 2, 32, 32)" in refusal("mars")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(refuse_row(np.nan, row=1), "'test_set': image 1 holds the pixel value nan", id="NaN"),
        pytest.param(refuse_row(256, row=1), "'test_set': image 1 holds the pixel value 256", id="beyond 255"),
        pytest.param(lambda x: x[:, :9], "'test_set' has shape (2, 9, 32); it must be (n, 32, 32)", id="wrong size"),
        pytest.param(lambda x: x[:0], "'test_set' has shape (0, 32, 32): it is empty", id="empty"),
    ],
)
def test_a_bad_test_set_is_refused(
    mars: Declare, refusal: Refusal, pairs: Array, change: Change, expected: str
) -> None:
    mars(training_set=pairs, test_set=change(pairs[:2, 0]))
    assert expected in refusal("mars")


def test_wrong_keys_are_named(blood: Declare, refusal: Refusal, images: Array) -> None:
    blood(data=images, labels=images)
    assert "blood.npz holds the arrays data, labels; needed: images, labels" in refusal("blood")


def test_a_missing_file_is_named(declare: Declare, refusal: Refusal) -> None:
    declare("blood", source="challenge", path="nowhere.npz")
    assert "nowhere.npz is missing" in refusal("blood")


def test_a_folder_is_no_file(declare: Declare, refusal: Refusal) -> None:
    declare("blood", source="challenge", path="data/sources")
    assert "data/sources is a folder" in refusal("blood")


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flip(data: bytes) -> bytes:
    return data[:5000] + bytes([data[5000] ^ 1]) + data[5001:]


@pytest.mark.parametrize(
    "damage", [cut, flip, lambda data: b"", lambda data: b"no archive" * 100], ids=["cut", "flipped", "empty", "text"]
)
def test_a_damaged_file_is_refused(
    blood: Declare, refusal: Refusal, images: Array, labels: Array, damage: Callable[[bytes], bytes]
) -> None:
    blood(images=images, labels=labels)
    file = Path("blood.npz")
    file.write_bytes(damage(file.read_bytes()))
    assert "blood.npz is truncated, damaged or not an .npz file" in refusal("blood")


def test_an_array_shorter_than_its_header_is_refused(
    declare: Declare, refusal: Refusal, images: Array, labels: Array
) -> None:
    np.save("images.npy", images)
    np.save("labels.npy", labels)
    with zipfile.ZipFile("blood.npz", "w") as archive:
        archive.writestr("images.npy", Path("images.npy").read_bytes()[:-1])
        archive.write("labels.npy")
    declare("blood", source="challenge", path="blood.npz")
    assert "blood.npz is truncated" in refusal("blood")


class Trap:
    """An object that creates a file when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("sprung"),)


def test_nothing_is_ever_unpickled(blood: Declare, refusal: Refusal, images: Array) -> None:
    blood(images=images, labels=np.array([Trap()] * 6, dtype=object))
    assert "'labels' is an object array" in refusal("blood")
    assert not Path("sprung").exists()
