"""Folders of pictures: the layouts they may have, and what is refused, skipped or reported."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from terracyte.core import paths
from tests.ingest.conftest import SIZE, Declare, Ingest, Refusal

# How the folders of conftest's classes may be called.
BLOOD_FOLDERS = ("Basophil", "EOSINOPHIL", "immature_granulocyte")


def save(path: str, pixels: NDArray[Any], **options: Any) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def grey(value: int, size: int = SIZE, channels: int = 3) -> NDArray[np.uint8]:
    return np.full((size, size, channels)[: 3 if channels == 3 else 2], value, np.uint8)


def mask(*classes: int, size: int = SIZE) -> NDArray[np.uint8]:
    """Vertical stripes of classes, equally wide."""
    return np.tile(np.repeat(np.array(classes, np.uint8), size // len(classes)), (size, 1))


@pytest.fixture
def blood(declare: Declare) -> None:
    """Two images per class, of several formats and sizes, in a declared folder."""
    for label, folder in enumerate(BLOOD_FOLDERS):
        save(f"cells/{folder}/b.png", grey(10 + label, size=SIZE * 2))
        save(f"cells/{folder}/a.JPG", grey(100 + label, size=SIZE // 2), quality=95)
    declare("blood", source="folder", path="cells")


@pytest.fixture
def mars(declare: Declare) -> None:
    """Two images with masks that hold all classes, in a declared folder."""
    for stem, value in (("sol_2", 20), ("sol_1", 10)):
        save(f"terrain/images/{stem}.png", grey(value, channels=1))
        save(f"terrain/masks/{stem}.png", mask(0, 1, 2, 3))
    declare("mars", source="folder", path="terrain")


def test_class_folders_are_read_in_order_and_resized(blood: None, ingest: Ingest) -> None:
    images, manifest = ingest("blood")
    assert manifest["name"].tolist() == [f"{f}/{file}" for f in BLOOD_FOLDERS for file in ("a.JPG", "b.png")]
    assert manifest["label"].tolist() == [0, 0, 1, 1, 2, 2]
    assert images.shape == (6, SIZE, SIZE, 3)
    np.testing.assert_array_equal(images[1::2, 5, 5, 0], [10, 11, 12])
    np.testing.assert_allclose(images[::2, 5, 5, 0], [100, 101, 102], atol=1)  # jpg is lossy


def test_a_folder_may_bear_initials(blood: None, ingest: Ingest) -> None:
    Path("cells/immature_granulocyte").rename("cells/ig")
    assert ingest("blood")[1]["name"].iloc[-1] == "ig/b.png"


def test_shrinking_averages(blood: None, ingest: Ingest) -> None:
    checkerboard = np.indices((SIZE * 2, SIZE * 2)).sum(axis=0) % 2 * 200
    save("cells/Basophil/b.png", checkerboard.astype(np.uint8))
    assert ingest("blood")[0][1, 4:-4, 4:-4].tolist() == grey(100)[4:-4, 4:-4].tolist()


def test_photos_are_turned_upright(blood: None, ingest: Ingest) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3  # orientation: upside down
    pixels = grey(0)
    pixels[: SIZE // 2] = 200
    save("cells/Basophil/b.png", pixels, exif=exif)
    np.testing.assert_array_equal(ingest("blood")[0][1], pixels[::-1])


def test_hidden_files_are_left_out_and_named(blood: None, ingest: Ingest, capsys: pytest.CaptureFixture[str]) -> None:
    Path("cells/Basophil/.a.jpg").write_bytes(b"resource fork")
    Path("cells/.git").mkdir()
    assert len(ingest("blood")[0]) == 6
    assert capsys.readouterr().err.splitlines() == ["warning: cells: 2 hidden files left out: .git, Basophil/.a.jpg"]


def test_unreadable_files_are_skipped_and_named(
    blood: None, declare: Declare, ingest: Ingest, capsys: pytest.CaptureFixture[str]
) -> None:
    declare("blood", source="folder", path="cells", unreadable="skip")
    Path("cells/Basophil/notes.txt").write_text("no picture")
    truncated = Path("cells/EOSINOPHIL/b.png")
    truncated.write_bytes(truncated.read_bytes()[:-40])
    assert ingest("blood")[1]["label"].tolist() == [0, 0, 1, 2, 2]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: cells: 2 unreadable files left out: cells/Basophil/notes.txt is no jpg or png")
    assert "cells/EOSINOPHIL/b.png is damaged" in line


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"text"],
    ids=["cut", "empty", "text"],
)
@pytest.mark.parametrize("file", ["cells/Basophil/a.JPG", "cells/Basophil/b.png"])
def test_unreadable_files_are_refused(
    blood: None, refusal: Refusal, file: str, damage: Callable[[bytes], bytes]
) -> None:
    Path(file).write_bytes(damage(Path(file).read_bytes()))
    line = refusal("blood")
    assert line.startswith(f"error: {file} is ")
    assert "set 'sources.blood.unreadable' to skip" in line


def test_sixteen_bits_are_refused(blood: None, refusal: Refusal) -> None:
    save("cells/Basophil/b.png", np.full((SIZE, SIZE), 40_000, np.uint16))
    assert "cells/Basophil/b.png has more than 8 bits" in refusal("blood")


def test_only_unreadable_files_are_no_images(blood: None, declare: Declare, refusal: Refusal) -> None:
    declare("blood", source="folder", path="cells", unreadable="skip")
    for file in Path("cells").glob("*/*"):
        file.unlink()
    assert "cells holds no image" in refusal("blood")


def test_a_missing_folder_is_named(declare: Declare, refusal: Refusal) -> None:
    declare("blood", source="folder", path="nowhere")
    assert "nowhere is no folder" in refusal("blood")


@pytest.mark.skipif(sys.platform == "darwin", reason="its file names are always UTF-8")
def test_a_name_that_is_not_utf_8_is_shown(blood: None, refusal: Refusal) -> None:
    Path("cells/Basophil/b.png").rename(os.fsdecode(b"cells/Basophil/\xff.png"))
    assert r"cells/Basophil holds '\udcff.png', whose name is not UTF-8: rename it" in refusal("blood")


def test_unknown_and_missing_classes_are_named(blood: None, refusal: Refusal) -> None:
    Path("cells/Basophil").rename("cells/Basofil")
    line = refusal("blood")
    assert "cells has no folder for the classes basophil and folders of no class: Basofil" in line


def test_a_class_without_images_is_named(blood: None, refusal: Refusal) -> None:
    shutil.rmtree("cells/EOSINOPHIL")
    Path("cells/EOSINOPHIL").mkdir()
    assert "cells holds no image of class 'eosinophil' (1)" in refusal("blood")


def test_declared_groups_reach_the_manifest(blood: None, declare: Declare, ingest: Ingest) -> None:
    names = [f"{folder}/{file}" for folder in BLOOD_FOLDERS for file in ("a.JPG", "b.png")]
    rows = "".join(f"{name},patient {row // 3}\n" for row, name in enumerate(names))
    Path("cells/groups.csv").write_text(f"file,patient\n{rows}")
    declare("blood", source="folder", path="cells", group_column="patient")
    assert ingest("blood")[1]["declared_group"].tolist() == ["patient 0"] * 3 + ["patient 1"] * 3


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "cells/groups.csv is missing, but 'group_column' is 'patient'"),
        ("file,site\n", "cells/groups.csv lacks the column 'patient'; it has file, site"),
        ("file,patient\nBasophil/a.JPG,1\n", "no row for 5 of 6 images, first 'Basophil/b.png'"),
    ],
)
def test_incomplete_groups_are_refused(
    blood: None, declare: Declare, refusal: Refusal, content: str | None, expected: str
) -> None:
    if content is not None:
        Path("cells/groups.csv").write_text(content)
    declare("blood", source="folder", path="cells", group_column="patient")
    assert expected in refusal("blood")


def test_images_and_masks_are_paired_by_name(mars: None, ingest: Ingest) -> None:
    images, manifest = ingest("mars")
    assert manifest["name"].tolist() == ["images/sol_1.png", "images/sol_2.png"]
    assert images[:, 0, 0, 0].tolist() == [10, 20]
    np.testing.assert_array_equal(np.load(paths.masks("mars")), [mask(0, 1, 2, 3)] * 2)


def test_masks_are_resized_to_the_nearest_class(mars: None, ingest: Ingest) -> None:
    save("terrain/images/sol_1.jpg", grey(10, size=SIZE * 4, channels=1))
    Path("terrain/images/sol_1.png").unlink()
    save("terrain/masks/sol_1.png", mask(3, 0, size=SIZE * 4))
    ingest("mars")
    np.testing.assert_array_equal(np.load(paths.masks("mars"))[0], mask(3, 0))


def test_palette_indices_are_classes(mars: None, ingest: Ingest) -> None:
    picture = Image.fromarray(mask(0, 1, 2, 3), "L").convert("P")
    picture.putdata(mask(3, 2, 1, 0).reshape(-1).tolist())
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    picture.save("terrain/masks/sol_1.png")
    ingest("mars")
    np.testing.assert_array_equal(np.load(paths.masks("mars"))[0], mask(3, 2, 1, 0))


def test_255_is_background(mars: None, ingest: Ingest) -> None:
    save("terrain/masks/sol_1.png", mask(255, 2))
    ingest("mars")
    np.testing.assert_array_equal(np.load(paths.masks("mars"))[0], mask(0, 2))


def test_ai4mars_numbering_is_recognised(mars: None, ingest: Ingest, capsys: pytest.CaptureFixture[str]) -> None:
    save("terrain/masks/sol_1.png", mask(0, 1, 2, 255))
    save("terrain/masks/sol_2.png", mask(2, 1))
    ingest("mars")
    np.testing.assert_array_equal(np.load(paths.masks("mars")), [mask(1, 2, 3, 0), mask(3, 2)])
    assert "0 soil, 1 bedrock, 2 big rock, 255 background" in capsys.readouterr().err


def test_pictures_without_masks_are_kept_apart_by_name(mars: None, ingest: Ingest) -> None:
    ingest("mars")
    assert not paths.unlabelled("mars").exists()
    for stem, value in (("b", 20), ("a", 10), ("c", 30)):
        save(f"terrain/unlabelled/{stem}.png", grey(value, size=SIZE * 2, channels=1))
    assert len(ingest("mars")[0]) == 2
    unlabelled = np.load(paths.unlabelled("mars"))
    assert unlabelled.shape == (3, SIZE, SIZE, 1)
    assert unlabelled[:, 0, 0, 0].tolist() == [10, 20, 30]


def test_an_unreadable_picture_without_mask_is_refused(mars: None, refusal: Refusal) -> None:
    save("terrain/unlabelled/a.png", grey(1, channels=1))
    Path("terrain/unlabelled/b.png").write_bytes(b"text")
    assert "terrain/unlabelled/b.png is no jpg or png" in refusal("mars")


@pytest.mark.parametrize("absent", ["images", "masks"])
def test_an_absent_folder_is_named(mars: None, refusal: Refusal, absent: str) -> None:
    shutil.rmtree(f"terrain/{absent}")
    assert f"terrain/{absent} is missing" in refusal("mars")


def test_files_without_a_partner_are_named(mars: None, refusal: Refusal) -> None:
    Path("terrain/masks/sol_1.png").rename("terrain/masks/sol_3.png")
    line = refusal("mars")
    assert "2 files have no partner" in line
    assert "images/sol_1.png, masks/sol_3.png" in line


def test_two_files_of_one_name_are_refused(mars: None, refusal: Refusal) -> None:
    save("terrain/images/sol_1.jpg", grey(1, channels=1))
    assert "terrain/images holds sol_1.jpg and sol_1.png" in refusal("mars")


@pytest.mark.parametrize(
    ("pixels", "name", "expected"),
    [
        (mask(0, 4), "sol_1.png", "images/sol_1.png: the mask is 4 at row 0, column 16"),
        (mask(0, 1, size=64), "sol_1.png", "masks/sol_1.png has 64x64 pixels, its image 32x32"),
        (grey(1), "sol_1.png", "masks/sol_1.png is a colour picture (RGB)"),
        (mask(0, 1), "sol_1.jpg", "masks/sol_1.jpg is a jpg"),
    ],
    ids=["unknown class", "another size", "colour", "jpg"],
)
def test_bad_masks_are_refused(
    mars: None, refusal: Refusal, pixels: NDArray[np.uint8], name: str, expected: str
) -> None:
    Path("terrain/masks/sol_1.png").unlink()
    save(f"terrain/masks/{name}", pixels)
    assert expected in refusal("mars")


def test_a_class_absent_from_all_masks_is_named(mars: None, refusal: Refusal) -> None:
    for stem in ("sol_1", "sol_2"):
        save(f"terrain/masks/{stem}.png", mask(0, 1))
    assert "terrain holds no pixel of class 'bedrock' (2), 'big rock' (3)" in refusal("mars")


def test_an_unreadable_mask_skips_its_image(mars: None, declare: Declare, ingest: Ingest) -> None:
    declare("mars", source="folder", path="terrain", unreadable="skip")
    Path("terrain/masks/sol_1.png").write_bytes(b"")
    assert ingest("mars")[1]["name"].tolist() == ["images/sol_2.png"]
