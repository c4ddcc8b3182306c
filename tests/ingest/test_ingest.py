"""The ingest stage, and the raw form that it writes."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from terracyte.core import files, paths
from terracyte.core.errors import InputError
from terracyte.ingest import raw
from terracyte.ingest.sources.source import Batch
from tests.conftest import Edit
from tests.ingest.conftest import CLASSES, Declare, Ingest, Refusal
from tests.pictures import classification, segmentation

FULL = Path("/dev/full")  # Linux: each write fails with "no space left"

BLOOD = classification(CLASSES["blood"], (32, 32, 3))
MARS = segmentation(CLASSES["mars"], (32, 32, 1))


def blood_batch(start: int, count: int, **changes: Any) -> Batch:
    images = np.arange(start, start + count, dtype=np.uint8).repeat(32 * 32 * 3).reshape(count, 32, 32, 3)
    names = [f"cell {row}" for row in range(start, start + count)]
    batch = Batch(images=images, labels=np.arange(start, start + count) % 3, names=names)
    return dataclasses.replace(batch, **changes)


def mars_batch(**changes: Any) -> Batch:
    masks = np.arange(4).repeat(32 * 32).reshape(4, 32, 32)
    batch = Batch(images=np.zeros((4, 32, 32, 1), np.uint8), masks=masks, names=list("abcd"))
    return dataclasses.replace(batch, **changes)


def declare_challenge(declare: Declare, value: int) -> None:
    """Write and declare a challenge file with one image per class, all pixels of one value."""
    np.savez("blood.npz", images=np.full((3, 32, 32, 3), value, np.uint8), labels=np.arange(3))
    declare("blood", source="challenge", path="blood.npz")


def test_batches_are_joined(tmp_path: Path) -> None:
    groups, defects = ["left", "right"], ["joke", ""]
    batches = [blood_batch(0, 9), blood_batch(9, 2, groups=groups, defects=defects)]  # 11: one more digit in the header
    raw.write(BLOOD, batches, tmp_path, "here")
    images = np.load(tmp_path / "images.npy", mmap_mode="r")
    manifest = pd.read_parquet(tmp_path / "manifest.parquet")
    assert images[:, 31, 31, 2].tolist() == list(range(11))
    assert list(manifest)[:5] == ["id", "name", "label", "declared_group", "content_hash"]
    assert manifest["id"].tolist() == list(range(11))
    assert manifest["name"].tolist() == [f"cell {row}" for row in range(11)]
    assert manifest["label"].tolist() == [0, 1, 2] * 3 + [0, 1]
    assert manifest["declared_group"].tolist() == [""] * 9 + groups
    assert manifest["brightness"].tolist() == list(range(11))
    assert pd.read_parquet(tmp_path / "planted.parquet")["defect"].tolist() == [""] * 9 + defects


def test_masks_are_counted(tmp_path: Path) -> None:
    raw.write(MARS, [mars_batch()], tmp_path, "here")
    manifest = pd.read_parquet(tmp_path / "manifest.parquet")
    np.testing.assert_array_equal(MARS.class_counts(manifest), np.eye(4) * 32 * 32)
    masks = np.load(tmp_path / "masks.npy")
    assert (masks.dtype, masks.shape) == (np.uint8, (4, 32, 32))
    assert not (tmp_path / "planted.parquet").exists()


def test_the_same_batches_give_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        raw.write(MARS, [mars_batch()], tmp_path / folder, "here")
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_no_batch_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="here holds no image"):
        raw.write(BLOOD, [], tmp_path, "here")


def test_the_previous_raw_form_is_replaced(declare: Declare, ingest: Ingest) -> None:
    for value in (3, 4):
        declare_challenge(declare, value)
        assert ingest("blood")[0].min() == value
    assert list(Path("data/blood").iterdir()) == [paths.raw("blood")]


def test_what_a_killed_ingest_left_is_removed(declare: Declare, ingest: Ingest) -> None:
    left = Path("data/blood/.raw.partial-8charact")
    left.mkdir(parents=True)
    (left / "images.npy").write_text("half")
    declare_challenge(declare, 3)
    ingest("blood")
    assert list(Path("data/blood").iterdir()) == [paths.raw("blood")]


def test_a_misspelt_parameter_is_refused(edit: Edit, refusal: Refusal) -> None:
    edit("tasks.blood.hight", 96)
    assert "'tasks.blood.hight' is unknown; did you mean 'height'?" in refusal("blood")


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_a_disk_that_fills_up_while_images_are_written_is_one_line(
    declare: Declare, refusal: Refusal, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = files.atomic_folder

    @contextmanager
    def on_a_full_disk(path: Path) -> Iterator[Path]:
        with real(path) as folder:
            (folder / "images.npy").symlink_to(FULL)
            yield folder

    monkeypatch.setattr(files, "atomic_folder", on_a_full_disk)
    declare_challenge(declare, value=0)
    assert "the disk is full" in refusal("blood")
