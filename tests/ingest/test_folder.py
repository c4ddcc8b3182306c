"""Folders of pictures: the layouts they may have, and what is refused, skipped or reported."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from terracyte import params, tasks
from terracyte.core import paths
from terracyte.ingest.sources import folder as reader
from terracyte.ingest.sources.listing import label_of
from terracyte.ingest.sources.source import Batch
from tests.conftest import Edit
from tests.ingest.conftest import SIZE, Declare, Ingest, Refusal
from tests.pictures import colours_of_16_bits

# Accepted names of the folders of conftest's classes.
BLOOD_FOLDERS = ("Basophil", "EOSINOPHIL", "immature_granulocyte")


def save(path: str, pixels: NDArray[Any], **options: Any) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def grey(value: int, size: int = SIZE, channels: int = 3) -> NDArray[np.uint8]:
    return np.full((size, size, channels)[: 3 if channels == 3 else 2], value, np.uint8)


def mask(*classes: int, size: int = SIZE) -> NDArray[np.uint8]:
    """Return a mask of equally wide vertical stripes, one per given class."""
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
    assert line.startswith("warning: cells: 2 unreadable files left out: cells/Basophil/notes.txt is not a jpg, png")
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


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bits_are_refused_unless_their_range_is_declared(
    blood: None, edit: Edit, ingest: Ingest, refusal: Refusal, ending: str
) -> None:
    Path("cells/Basophil/b.png").unlink()
    ramp = np.tile(np.linspace(900, 5100, SIZE).astype(np.uint16), (SIZE, 1))
    save(f"cells/Basophil/b.{ending}", ramp)
    line = refusal("blood")
    assert f"cells/Basophil/b.{ending} has more than 8 bits per channel (16)" in line
    assert "'tasks.blood.pixel_range: [LOW, HIGH]'" in line
    shutil.rmtree("data/blood")
    edit("tasks.blood.pixel_range", [1000, 5000])
    expected = np.rint(255 * ((ramp[0] - 1000.0) / 4000).clip(0, 1))
    np.testing.assert_array_equal(ingest("blood")[0][1, 0, :, 0], expected)


def test_sixteen_bits_of_a_colour_are_refused(blood: None, edit: Edit, refusal: Refusal) -> None:
    """Pillow silently reads 16-bit colours as 8 bits per channel."""
    Path("cells/Basophil/b.png").write_bytes(colours_of_16_bits(SIZE))
    edit("tasks.blood.pixel_range", [0, 4095])
    assert "cells/Basophil/b.png has 16 bits per channel, allowed only in grey pictures" in refusal("blood")


def test_transparent_pixels_are_refused_or_flattened(blood: None, edit: Edit, ingest: Ingest, refusal: Refusal) -> None:
    layered = np.dstack([grey(100), np.repeat([0, 255], SIZE // 2)[None].repeat(SIZE, 0).astype(np.uint8)])
    save("cells/Basophil/b.png", layered)
    assert "cells/Basophil/b.png has transparent pixels" in refusal("blood")
    shutil.rmtree("data/blood")
    edit("tasks.blood.transparent", "flatten")
    assert ingest("blood")[0][1, 0, [0, -1], 0].tolist() == [255, 100]


@pytest.mark.parametrize("ending", ["BMP", "tif", "webp", "jpeg", "PNG", "gif"])
def test_pictures_of_any_common_kind_are_read(blood: None, ingest: Ingest, ending: str) -> None:
    Path("cells/Basophil/b.png").unlink()
    save(f"cells/Basophil/b.{ending}", grey(50))
    np.testing.assert_allclose(ingest("blood")[0][1], grey(50), atol=1)


@pytest.mark.parametrize("ending", ["tif", "gif"])
def test_several_pages_are_refused(blood: None, refusal: Refusal, ending: str) -> None:
    Path("cells/Basophil/b.png").unlink()
    pages = [Image.fromarray(grey(value)) for value in (1, 2)]
    pages[0].save(f"cells/Basophil/b.{ending}", save_all=True, append_images=pages[1:])
    assert f"cells/Basophil/b.{ending} has several pages" in refusal("blood")


def test_folders_may_be_nested_and_linked(blood: None, ingest: Ingest) -> None:
    Path("cells/Basophil/slide 2").mkdir()
    Path("cells/Basophil/b.png").rename("cells/Basophil/slide 2/b.png")
    Path("elsewhere").mkdir()
    Path("cells/EOSINOPHIL/b.png").rename("elsewhere/b.png")
    Path("cells/EOSINOPHIL/linked").symlink_to(Path("elsewhere").resolve())
    Path("cells/EOSINOPHIL/around").symlink_to(Path("cells/EOSINOPHIL").resolve())
    names = ingest("blood")[1]["name"].tolist()
    assert names[1] == "Basophil/slide 2/b.png"
    assert names[2:4] == ["EOSINOPHIL/a.JPG", "EOSINOPHIL/linked/b.png"]


def test_labels_may_stand_in_a_csv(blood: None, declare: Declare, ingest: Ingest) -> None:
    Path("cells/labels.csv").write_text(
        "file,label,patient\nBasophil/b.png, eosinophil ,P1\nEOSINOPHIL/a.JPG,basophil,P2\n"
        "EOSINOPHIL/b.png,Immature-Granulocyte,P1\n"
    )
    declare("blood", source="folder", path="cells", labels="labels.csv", group_column="patient")
    manifest = ingest("blood")[1]
    assert manifest["label"].tolist() == [1, 0, 2]
    assert manifest["declared_group"].tolist() == ["P1", "P2", "P1"]


def test_groups_of_excel_name_pictures_beside_folders_of_their_name(
    blood: None, declare: Declare, ingest: Ingest
) -> None:
    save("cells/Basophil/a/c.png", grey(1))
    rows = [rf"{folder}\{name};P{name}" for folder in BLOOD_FOLDERS for name in "ab"]
    text = "\r\n".join(["File;patient", *rows, r"Basophil\a\c;Pc"])
    Path("cells/groups.csv").write_bytes(text.encode("utf-8-sig"))
    declare("blood", source="folder", path="cells", group_column="patient")
    assert ingest("blood")[1]["declared_group"].tolist() == ["Pc", "Pa", "Pb", "Pa", "Pb", "Pa", "Pb"]


def test_a_csv_may_lie_beside_the_folder_of_its_pictures(
    blood: None, declare: Declare, ingest: Ingest, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("p.png", "train/p.png", "train/q.png", "test/inner/r.png", "test/.thumbs/q.png"):
        save(f"comp/{name}", grey(1))
    Path("comp/train.csv").write_text("id,label\np,ig\nq,basophil\nr,eosinophil\n")
    declare("blood", source="folder", path="comp", labels="train.csv")
    assert ingest("blood")[1]["name"].tolist() == ["p.png", "train/q.png", "test/inner/r.png"]
    assert "left out: 1 pictures that it does not list: train/p.png\n" in capsys.readouterr().err


def test_notes_cannot_change_the_terminal(
    blood: None, declare: Declare, ingest: Ingest, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{folder}/b.png,{folder}" for folder in BLOOD_FOLDERS]
    Path("cells/labels.csv").write_text("\n".join(["file,label", *rows, "\x1b[31mred.png,ig"]))
    declare("blood", source="folder", path="cells", labels="labels.csv", unreadable="skip")
    ingest("blood")
    assert r"warning: left out: cells/labels.csv names '\x1b[31mred.png', which is missing" in capsys.readouterr().err


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_csv_may_be_another_programs(blood: None, declare: Declare, ingest: Ingest, delimiter: str) -> None:
    rows = ["image_id Filename patient CLASS", r"7 Basophil\b.png P1 eosinophil", "8 EOSINOPHIL/b P2 basophil"]
    rows += ["9 immature_granulocyte/b P1 ig"]
    rows += ["   ", ""]  # cleared
    Path("cells/labels.csv").write_text("\n".join(rows).replace(" ", delimiter))
    declare("blood", source="folder", path="cells", labels="labels.csv", group_column="patient")
    manifest = ingest("blood")[1]
    assert manifest["name"].tolist() == ["Basophil/b.png", "EOSINOPHIL/b.png", "immature_granulocyte/b.png"]
    assert manifest["label"].tolist() == [1, 0, 2]
    assert manifest["declared_group"].tolist() == ["P1", "P2", "P1"]


@pytest.mark.parametrize(("yes", "no"), [("1", "0"), ("1.0", "0.0"), ("True", "False")])
def test_the_classes_of_a_csv_may_be_columns(blood: None, declare: Declare, ingest: Ingest, yes: str, no: str) -> None:
    rows = [
        "image_id,Basophil,IG,eosinophil,patient,age",
        f"Basophil/b,{yes},{no},{no},P1,51",
        f"EOSINOPHIL/b,{no},{no},{yes},P2,1",
        f"immature_granulocyte/b,{no},{yes},{no},P1,0",
        ",,,,,",
    ]
    Path("cells/labels.csv").write_text("\n".join(rows))
    declare("blood", source="folder", path="cells", labels="labels.csv", group_column="patient")
    manifest = ingest("blood")[1]
    assert manifest["label"].tolist() == [0, 1, 2]
    assert manifest["declared_group"].tolist() == ["P1", "P2", "P1"]


def test_two_columns_of_one_class_are_none(blood: None, declare: Declare, refusal: Refusal) -> None:
    Path("cells/labels.csv").write_text("file,basophil,ig,ig\nBasophil/b.png,0,1,1\n")
    declare("blood", source="folder", path="cells", labels="labels.csv")
    assert "lacks the column 'label'; it has file, basophil, ig, ig" in refusal("blood")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("Basophil/b,1,1", "columns basophil, ig hold 0 and 1, but line 3 has 1 in 2 of them, where an image has"),
        ("Basophil/b,0,0", "columns basophil, ig hold 0 and 1, but line 3 has 1 in none of them, where an image"),
        ("Basophil/b,,", "'Basophil/b.png' has no label; fill it in, or remove the line"),
        ("Basophil/b,0.5,1", "lacks the column 'label'; it has file, basophil, ig"),
        ("Basophil/b,1,x", "lacks the column 'label'; it has file, basophil, ig"),
        ("EOSINOPHIL/b,0,1", "'EOSINOPHIL/b.png' has the label 'basophil' in line 2 and 'ig' in line 3"),
    ],
)
def test_columns_that_name_no_class_of_a_row_are_refused(
    blood: None, declare: Declare, refusal: Refusal, row: str, expected: str
) -> None:
    Path("cells/labels.csv").write_text(f"file,basophil,ig\nEOSINOPHIL/b,1,0\n{row}\n")
    declare("blood", source="folder", path="cells", labels="labels.csv")
    assert expected in refusal("blood")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name,label\nBasophil/b.png,basophil\n", "lacks the column 'file'; it has name, label"),
        ("file,Label,Class\nBasophil/b.png,basophil,1\n", "lacks the column 'label'; it has file, Label, Class"),
        (
            "file,label\nBasophil/b,basophil\n",
            "line 2 names 'Basophil/b', but there are Basophil/b.jpg, Basophil/b.png: give one in full",
        ),
        ("file,label\nB,basophil\n", "names 'B', which is missing"),
        ("file,label\nb.png,basophil\n", "names 'b.png', but there are Basophil/b.png, EOSINOPHIL/b.png, "),
        ("file,label\nBasophil\\..\\..\\b.png,basophil\n", "names 'Basophil/../../b.png', which may be outside cells"),
        ("file,label\nBasophil/c,basophil\n", "names 'Basophil/c', which is missing"),
        ("file,label\nBasophil/d.jpg,basophil\n", "names 'Basophil/d.jpg', which is missing"),
        (
            "file,label,unit [a;b;c]\nBasophil/a,ig,1\nBasophil/a.JPG,basophil,1\n",
            "'Basophil/a.JPG' has the label 'ig' in",
        ),
    ],
)
def test_a_csv_of_two_meanings_is_refused(
    blood: None, declare: Declare, refusal: Refusal, text: str, expected: str
) -> None:
    save("cells/Basophil/b.jpg", grey(1))
    save("cells/Basophil/d.jpg.png", grey(1))
    Path("cells/labels.csv").write_text(text)
    declare("blood", source="folder", path="cells", labels="labels.csv")
    assert expected in refusal("blood")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            "Basophil/b.png,basofil\n",
            "'Basophil/b.png' has the unknown label 'basofil'; it must be one of basophil, eosinophil",
        ),
        (
            "Basophil/c.png,basophil\n",
            "cells/labels.csv names 'Basophil/c.png', which is missing; add what is missing or remove",
        ),
        (
            "Basophil/b.png,basophil\nBasophil/b.png,eosinophil\n",
            "'Basophil/b.png' has the label 'basophil' in line 2 and 'eosinophil' in line 3",
        ),
        (",basophil\n", "cells/labels.csv: line 2 names no file"),
        ("Basophil/b.png,\n", "'Basophil/b.png' has no label; fill it in, or remove the line"),
        (
            "Basophil/b.png,basophil, round\n",
            "line 2 has more cells than the header; a cell that holds the delimiter needs quotes",
        ),
        (
            "Basophil/b.png,basophil\n./Basophil/b.png,eosinophil\n",
            "'Basophil/b.png' has the label 'basophil' in line 2 and 'eosinophil' in line 3",
        ),
    ],
)
def test_wrong_labels_in_a_csv_are_refused(
    blood: None, declare: Declare, refusal: Refusal, row: str, expected: str
) -> None:
    Path("cells/labels.csv").write_text(f"file,label\n{row}")
    declare("blood", source="folder", path="cells", labels="labels.csv")
    assert expected in refusal("blood")


def test_a_column_that_stands_twice_is_refused(blood: None, declare: Declare, refusal: Refusal) -> None:
    Path("cells/labels.csv").write_text("file,label,label\nBasophil/b.png,basophil,eosinophil\n")
    declare("blood", source="folder", path="cells", labels="labels.csv")
    assert "cells/labels.csv has the column 'label' twice" in refusal("blood")


def test_a_csv_names_files_in_either_unicode_form(blood: None, declare: Declare, ingest: Ingest) -> None:
    Path("cells/Basophil/b.png").rename("cells/Basophil/e\N{COMBINING ACUTE ACCENT}.png")
    Path("cells/labels.csv").write_text(
        "file,label\nBasophil/\N{LATIN SMALL LETTER E WITH ACUTE}.png,basophil\nEOSINOPHIL/b.png,eosinophil\n"
        "immature_granulocyte/b.png,immature granulocyte\n"
    )
    declare("blood", source="folder", path="cells", labels="labels.csv")
    assert ingest("blood")[1]["label"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(("key", "path"), [("labels", "../l.csv"), ("images", "/elsewhere"), ("masks", "a/../../b")])
def test_what_dvc_does_not_watch_is_refused(
    blood: None, declare: Declare, refusal: Refusal, key: str, path: str
) -> None:
    declare("blood", source="folder", path="cells", **{key: path})
    expected = f"'sources.<task>.{key}' is '{path}'; it must be relative to the folder 'path' and inside it"
    assert expected in refusal("blood")


def test_only_unreadable_files_are_no_images(blood: None, declare: Declare, refusal: Refusal) -> None:
    declare("blood", source="folder", path="cells", unreadable="skip")
    for file in Path("cells").glob("*/*"):
        file.unlink()
    assert "cells holds no image" in refusal("blood")


def test_a_missing_folder_is_named(declare: Declare, refusal: Refusal) -> None:
    declare("blood", source="folder", path="nowhere")
    assert "nowhere is not a folder" in refusal("blood")


@pytest.mark.skipif(sys.platform == "darwin", reason="its file names are always UTF-8")
def test_a_name_that_is_not_utf_8_is_shown(blood: None, refusal: Refusal) -> None:
    Path("cells/Basophil/b.png").rename(os.fsdecode(b"cells/Basophil/\xff.png"))
    assert r"cells/Basophil holds '\udcff.png', whose name is not UTF-8: rename it" in refusal("blood")


def test_unknown_and_missing_classes_are_named(blood: None, refusal: Refusal) -> None:
    Path("cells/Basophil").rename("cells/Basofil")
    line = refusal("blood")
    assert "cells has no folder for the classes basophil and folders of unknown classes: Basofil" in line


@pytest.mark.parametrize(
    ("classes", "given", "label"),
    [
        (["0", "1", "2"], "-1", None),
        (["0", "1", "-1"], "-1", 2),
        (["grade -1", "grade 0"], "grade 1", None),
        (["CD4- T cell", "CD4+ T cell"], "CD4 T cell", None),
        (["CD4- T cell", "CD4+ T cell"], "cd4-_t_cell", 0),
        (["1-2", "3-4"], "12", None),
        (["10", "20"], "1 0", None),
        (["cat ", "dog"], "c", None),
        (["T-cell", "B-cell"], "t cell", 0),
        (["A+", "A-"], "A", None),
        (["A+", "A-"], "a-", 1),
        (["big rock", "bed rock"], "br", None),
        (["big rock", "sand"], "BR", 0),
        (["br", "big rock"], "BR", 0),
        (["Cat", "cat"], "cat", 1),
        (["immature granulocyte", "x"], "Immature - Granulocyte", 0),
        (["immature granulocyte", "x"], "IMMATURE_granulocyte", 0),
    ],
)
def test_a_name_means_a_class_that_is_alike_and_no_other(
    declare: Declare, edit: Edit, classes: list[str], given: str, label: int | None
) -> None:
    declare("blood", source="folder", path="cells")
    edit("tasks.blood.classes", classes)
    settings = params.load()
    assert label_of(tasks.make("blood", settings), settings.experiment.sources["blood"], given) == label


def test_large_pictures_are_read_a_few_at_a_time(blood: None, ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    before = ingest("blood")[0]
    sizes = []
    monkeypatch.setattr(reader, "_BATCH_BYTES", 2 * before[0].nbytes)
    read = reader.read

    def watched(*arguments: Any) -> Iterator[Batch]:
        for batch in read(*arguments):
            sizes.append(len(batch.images))
            yield batch

    monkeypatch.setattr(reader, "read", watched)
    np.testing.assert_array_equal(ingest("blood")[0], before)
    assert sizes == [2, 2, 2]


def test_a_csv_beside_splits_and_other_pictures_is_told_to_be_all(
    blood: None, declare: Declare, ingest: Ingest, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("cells/Basophil").rename("cells/train")
    rows = ["train/a.JPG,basophil", "EOSINOPHIL/b.png,eosinophil", "immature_granulocyte/b.png,ig"]
    Path("cells/labels.csv").write_text("\n".join(["file,label", *rows]))
    Path(os.fsdecode(b"cells/\xff.txt")).touch()
    declare("blood", source="folder", path="cells", labels="labels.csv")
    assert ingest("blood")[1]["label"].tolist() == [0, 1, 2]
    said = capsys.readouterr().err
    unlisted = "EOSINOPHIL/a.JPG, immature_granulocyte/a.JPG"
    assert f"cells/labels.csv: left out: 3 pictures that it does not list: {unlisted}" in said
    assert "cells: the folders train do not count as splits, since a CSV file gives the labels" in said


def test_folders_may_be_merged_and_left_out(blood: None, declare: Declare, ingest: Ingest, refusal: Refusal) -> None:
    save("cells/blast/a.png", grey(7))
    save("cells/junk/a.png", grey(8))
    declared = {"blast": "basophil", "junk": None, "d\N{LATIN SMALL LETTER E WITH ACUTE}faut": None}
    save("cells/de\N{COMBINING ACUTE ACCENT}faut/a.png", grey(9))  # in the decomposed form that a Mac writes
    declare("blood", source="folder", path="cells", class_of={"blast": "basofil"})
    assert "'sources.blood.class_of.blast.basofil' is unknown; did you mean 'basophil'" in refusal("blood")
    shutil.rmtree("data/blood")
    declare("blood", source="folder", path="cells", class_of=declared)
    manifest = ingest("blood")[1]
    assert manifest["name"].tolist()[:3] == ["Basophil/a.JPG", "Basophil/b.png", "blast/a.png"]
    assert manifest["label"].tolist() == [0, 0, 0, 1, 1, 2, 2]


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


def test_blanks_around_a_group_are_none(
    blood: None, declare: Declare, ingest: Ingest, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"{folder}/{file}" for folder in BLOOD_FOLDERS for file in ("a.JPG", "b.png")]
    cells = ["P0", "P0 ", " P1", "P1", "", " "]
    rows = "".join(f"{name} ,{cell}\n" for name, cell in zip(names, cells, strict=True))
    Path("cells/groups.csv").write_text(f"file, patient\n{rows}")
    declare("blood", source="folder", path="cells", group_column="patient")
    assert ingest("blood")[1]["declared_group"].tolist() == ["P0", "P0", "P1", "P1", "", ""]
    assert "cells/groups.csv: 'patient' is empty for 2 of 6 images" in capsys.readouterr().err


def test_a_file_in_two_groups_is_refused(blood: None, declare: Declare, refusal: Refusal) -> None:
    Path("cells/groups.csv").write_text("file,patient\nBasophil/a.JPG,P0\nBasophil/b.png,P1\nBasophil/a.JPG,P5\n")
    declare("blood", source="folder", path="cells", group_column="patient")
    assert "'Basophil/a.JPG' has the patient 'P0' in line 2 and 'P5' in line 4" in refusal("blood")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "cells/groups.csv is missing; create it, or leave out what needs it: --groups"),
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
    assert "terrain/unlabelled/b.png is not a jpg, png" in refusal("mars")


@pytest.mark.parametrize("absent", ["images", "masks"])
def test_an_absent_folder_is_named(mars: None, refusal: Refusal, absent: str) -> None:
    shutil.rmtree(f"terrain/{absent}")
    assert f"terrain/{absent} is missing" in refusal("mars")


def test_files_without_a_partner_are_named(mars: None, refusal: Refusal) -> None:
    Path("terrain/masks/sol_1.png").rename("terrain/masks/sol_3.png")
    line = refusal("mars")
    assert "1 files in terrain/images without a partner of the same name in terrain/masks: sol_1.png" in line


def test_names_that_differ_are_shown_from_both_sides(mars: None, refusal: Refusal) -> None:
    for stem in ("sol_1", "sol_2"):
        Path(f"terrain/masks/{stem}.png").rename(f"terrain/masks/{stem}_drawn.png")
    line = refusal("mars")
    assert "2 files in terrain/images without a partner of the same name in terrain/masks: sol_1.png, sol_2.png" in line
    assert "in terrain/images: sol_1_drawn.png, sol_2_drawn.png" in line


def test_a_mask_may_be_called_the_mask_of_its_image(mars: None, ingest: Ingest) -> None:
    Path("terrain/masks/sol_1.png").rename("terrain/masks/sol_1_Mask.png")
    images, manifest = ingest("mars")
    assert manifest["name"].tolist() == ["images/sol_1.png", "images/sol_2.png"]
    assert images[:, 0, 0, 0].tolist() == [10, 20]


def test_files_that_are_no_pictures_are_left_out(
    mars: None, ingest: Ingest, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("terrain/images/sol_1.json").write_text("{}")
    Path("terrain/masks/classes.txt").write_text("soil")
    assert ingest("mars")[1]["name"].tolist() == ["images/sol_1.png", "images/sol_2.png"]
    told = "note: left out: 2 files that are no pictures: terrain/images/sol_1.json, terrain/masks/classes.txt"
    assert told in capsys.readouterr().err


def test_masks_of_another_kind_are_named(mars: None, refusal: Refusal) -> None:
    for path in Path("terrain/masks").iterdir():
        path.rename(path.with_suffix(".npy"))
    assert "terrain/masks holds no jpg, png, gif, bmp, tif or webp files, only others: sol_1.npy" in refusal("mars")


def test_two_masks_of_one_image_are_none(
    mars: None, declare: Declare, ingest: Ingest, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("terrain/masks/sol_1.png").rename("terrain/masks/sol_1_gt.png")
    save("terrain/masks/sol_1_mask.png", mask(0, 1, 2, 3))
    declare("mars", source="folder", path="terrain", unreadable="skip")
    assert ingest("mars")[1]["name"].tolist() == ["images/sol_2.png"]
    assert "in terrain/images: sol_1_gt.png, sol_1_mask.png" in capsys.readouterr().err


def test_a_mask_of_the_very_name_comes_first(mars: None, refusal: Refusal) -> None:
    save("terrain/masks/sol_1_Mask.png", mask(0, 0, 0, 0))
    assert "in terrain/masks without a partner of the same name in terrain/images: sol_1_Mask.png" in refusal("mars")


def test_what_has_no_partner_may_be_skipped(
    mars: None, declare: Declare, ingest: Ingest, capsys: pytest.CaptureFixture[str]
) -> None:
    declare("mars", source="folder", path="terrain", unreadable="skip")
    Path("terrain/masks/sol_1.png").rename("terrain/masks/sol_3.png")
    assert ingest("mars")[1]["name"].tolist() == ["images/sol_2.png"]
    said = capsys.readouterr().err
    assert "left out: 1 files in terrain/images without a partner of the same name in terrain/masks: sol_1.png" in said
    assert "left out: 1 files in terrain/masks without a partner of the same name in terrain/images: sol_3.png" in said


@pytest.mark.skipif(sys.platform == "darwin", reason="it knows one form of a name only")
def test_names_of_another_unicode_form_are_the_same(mars: None, ingest: Ingest) -> None:
    Path("terrain/images/sol_1.png").rename("terrain/images/caf\u00e9.png")
    Path("terrain/masks/sol_1.png").rename("terrain/masks/cafe\u0301.png")
    assert ingest("mars")[1]["name"].tolist() == ["images/caf\u00e9.png", "images/sol_2.png"]


def test_two_files_of_one_name_are_refused(mars: None, refusal: Refusal) -> None:
    save("terrain/images/sol_1.jpg", grey(1, channels=1))
    assert "terrain/images holds sol_1.jpg and sol_1.png" in refusal("mars")


@pytest.mark.parametrize(
    ("pixels", "name", "expected"),
    [
        (mask(0, 4), "sol_1.png", "masks/sol_1.png holds 4 in 512 pixels, first at row 0, column 16"),
        (mask(0, 1, size=64), "sol_1.png", "masks/sol_1.png has 64x64 pixels, its image 32x32"),
        (grey(1), "sol_1.png", "masks/sol_1.png is not a grey picture of whole numbers, but RGB"),
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


def test_folders_of_splits_give_each_image_its_split_test_first(
    blood: None, ingest: Ingest, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cleaning keeps the first of equal images, which must therefore be the one in the most protected split."""
    for split in ("Training", "val", "TEST"):
        shutil.copytree("cells", f"parted/{split}")
    shutil.rmtree("parted/val/Basophil")
    shutil.rmtree("cells")
    Path("parted").rename("cells")
    manifest = ingest("blood")[1]
    assert manifest["declared_split"].tolist() == ["test"] * 6 + ["validation"] * 4 + ["train"] * 6
    assert manifest["label"].tolist() == [0, 0, 1, 1, 2, 2, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2]
    assert manifest["name"].iloc[[0, 6]].tolist() == ["TEST/Basophil/a.JPG", "val/EOSINOPHIL/a.JPG"]
    assert "cells already has a split (train 6, validation 4, test 6), which `balance` keeps" in capsys.readouterr().err


def test_a_source_without_a_split_has_no_column_of_it(blood: None, ingest: Ingest) -> None:
    assert "declared_split" not in ingest("blood")[1]


def test_classes_may_be_called_as_splits_are(blood: None, declare: Declare, edit: Edit, ingest: Ingest) -> None:
    edit("tasks.blood.classes", ["train", "test"])
    shutil.rmtree("cells/immature_granulocyte")
    Path("cells/Basophil").rename("cells/train")
    Path("cells/EOSINOPHIL").rename("cells/test")
    manifest = ingest("blood")[1]
    assert manifest["label"].tolist() == [0, 0, 1, 1]
    assert "declared_split" not in manifest


@pytest.mark.parametrize("layout", ["{split}/{kind}", "{kind}/{split}"])
def test_splits_of_images_with_masks(mars: None, ingest: Ingest, layout: str) -> None:
    for kind in ("images", "masks"):
        for split, stem in (("train", "sol_1"), ("testing", "sol_2")):
            target = Path("parted", layout.format(split=split, kind=kind))
            target.mkdir(parents=True)
            Path(f"terrain/{kind}/{stem}.png").rename(target / f"{stem}.png")
    shutil.rmtree("terrain")
    Path("parted").rename("terrain")
    images, manifest = ingest("mars")
    assert manifest["declared_split"].tolist() == ["test", "train"]
    assert images[:, 0, 0, 0].tolist() == [20, 10]


def test_a_column_may_give_the_split(blood: None, declare: Declare, ingest: Ingest) -> None:
    names = [f"{folder}/{file}" for folder in BLOOD_FOLDERS for file in ("a.JPG", "b.png")]
    cells = ["train", "Valid", "testing", " TRAIN ", "test", "train"]
    rows = "".join(f"{name},{cell}\n" for name, cell in zip(names, cells, strict=True))
    Path("cells/splits.csv").write_text(f"file,part\n{rows}")
    declare("blood", source="folder", path="cells", split_column="part")
    manifest = ingest("blood")[1]
    assert manifest["declared_split"].tolist() == ["test", "test", "validation", "train", "train", "train"]
    assert manifest["name"].tolist() == [names[place] for place in (2, 4, 1, 0, 3, 5)]


def test_a_split_of_no_meaning_is_refused(blood: None, declare: Declare, refusal: Refusal) -> None:
    rows = "".join(f"{folder}/{file},dev\n" for folder in BLOOD_FOLDERS for file in ("a.JPG", "b.png"))
    Path("cells/splits.csv").write_text(f"file,split\n{rows}")
    declare("blood", source="folder", path="cells", split_column="split")
    line = refusal("blood")
    assert "'Basophil/a.JPG' has the split 'dev'; it must be one of train, validation, test" in line


def test_what_windows_leaves_behind_is_no_picture(blood: None, ingest: Ingest) -> None:
    images, _ = ingest("blood")
    for folder in (Path("cells"), *Path("cells").iterdir()):
        for name in ("Thumbs.db", "desktop.ini"):
            (folder / name).touch()
    np.testing.assert_array_equal(ingest("blood")[0], images)


def test_a_folder_beside_splits_is_refused(blood: None, refusal: Refusal) -> None:
    for split in ("train", "test"):
        shutil.copytree("cells", f"parted/{split}")
    shutil.rmtree("cells")
    Path("parted").rename("cells")
    Path("cells/__MACOSX").mkdir()  # zips from a Mac contain this folder, which is ignored
    Path("cells/extra").mkdir()
    assert "cells holds the splits test, train, but also folders that are not splits: extra" in refusal("blood")


def test_a_picture_in_no_split_is_refused(mars: None, refusal: Refusal) -> None:
    for kind in ("images", "masks"):
        for split, stem in (("train", "sol_1"), ("test", "sol_2")):
            Path(f"terrain/{kind}/{split}").mkdir()
            Path(f"terrain/{kind}/{stem}.png").rename(f"terrain/{kind}/{split}/{stem}.png")
        shutil.copy(f"terrain/{kind}/train/sol_1.png", f"terrain/{kind}/stray.png")
    line = refusal("mars")
    assert "terrain/images/stray.png is in none of the split folders test, train: move it into one of them" in line


def test_pictures_beside_class_folders_are_named(
    blood: None, ingest: Ingest, capsys: pytest.CaptureFixture[str]
) -> None:
    save("cells/loose.png", grey(7))
    assert len(ingest("blood")[1]) == 6
    assert "cells: left out: 1 pictures beside the class folders: loose.png" in capsys.readouterr().err


def test_a_split_of_pictures_without_classes_is_refused(blood: None, refusal: Refusal) -> None:
    shutil.move("cells", "train")
    shutil.move("train", "cells/train")
    save("cells/test/1.png", grey(7))
    assert "cells/test holds 1 pictures but no class folders" in refusal("blood")


def test_links_to_folders_are_named_as_dvc_does_not_look_there(
    blood: None, ingest: Ingest, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.move("cells/Basophil", "elsewhere")
    Path("cells/Basophil").symlink_to(Path("elsewhere").resolve())
    assert len(ingest("blood")[1]) == 6
    said = capsys.readouterr().err
    assert "DVC does not see changes behind links to folders: Basophil; after a change, run `dvc repro --force" in said


def test_a_split_without_a_partner_folder_is_refused(mars: None, refusal: Refusal) -> None:
    for kind in ("images", "masks"):
        shutil.move(f"terrain/{kind}", f"terrain/train/{kind}")
    shutil.copytree("terrain/train/images", "terrain/test/images")
    assert "terrain/test/masks is missing" in refusal("mars")


def test_a_skipped_file_takes_its_group_and_its_split_along(blood: None, declare: Declare, ingest: Ingest) -> None:
    names = [f"{folder}/{file}" for folder in BLOOD_FOLDERS for file in ("a.JPG", "b.png")]
    splits = ["train", "test", "train", "test", "validation", "train"]
    for file, cells_of in (("groups", [f"P{row}" for row in range(6)]), ("splits", splits)):
        rows = "".join(f"{name},{cell}\n" for name, cell in zip(names, cells_of, strict=True))
        Path(f"cells/{file}.csv").write_text(f"file,cell\n{rows}")
    declare("blood", source="folder", path="cells", group_column="cell", split_column="cell", unreadable="skip")
    for skipped in (1, 2):
        Path(f"cells/{names[skipped]}").write_text("no picture")
    manifest = ingest("blood")[1]
    kept = manifest[["name", "declared_group", "declared_split"]].to_numpy().tolist()
    assert kept == [[names[row], f"P{row}", splits[row]] for row in (3, 4, 0, 5)]


def test_a_column_counts_more_than_the_folders_of_splits(blood: None, declare: Declare, ingest: Ingest) -> None:
    shutil.copytree("cells", "parted/train")
    shutil.move("cells", "parted/test")
    Path("parted").rename("cells")
    names = [path.relative_to("cells").as_posix() for path in Path("cells").rglob("*.*")]
    Path("cells/splits.csv").write_text("file,split\n" + "".join(f"{name},val\n" for name in names))
    declare("blood", source="folder", path="cells", split_column="split")
    assert ingest("blood")[1]["declared_split"].tolist() == ["validation"] * 12


def test_the_split_may_stand_in_the_csv_of_the_labels(blood: None, declare: Declare, ingest: Ingest) -> None:
    rows = ["Basophil/a.JPG,basophil,train", "EOSINOPHIL/a.JPG,eosinophil,test", "immature_granulocyte/a.JPG,ig,val"]
    Path("cells/labels.csv").write_text("\n".join(["file,label,part", *rows]))
    declare("blood", source="folder", path="cells", labels="labels.csv", split_column="part")
    assert ingest("blood")[1]["declared_split"].tolist() == ["test", "validation", "train"]


def test_a_row_of_blanks_was_cleared(blood: None, declare: Declare, ingest: Ingest) -> None:
    rows = ["Basophil/a.JPG,basophil", "EOSINOPHIL/a.JPG,eosinophil", "immature_granulocyte/a.JPG,ig"]
    Path("cells/labels.csv").write_text("\n".join(["file,label", *rows, " , ", ","]))
    declare("blood", source="folder", path="cells", labels="labels.csv")
    assert ingest("blood")[1]["label"].tolist() == [0, 1, 2]


def test_labels_of_left_out_rows_of_a_csv_are_no_class(blood: None, declare: Declare, ingest: Ingest) -> None:
    rows = ["Basophil/a.JPG,basophil", "EOSINOPHIL/a.JPG,eosinophil", "EOSINOPHIL/b.png,junk"]
    rows += ["immature_granulocyte/a.JPG,ig"]
    Path("cells/labels.csv").write_text("\n".join(["file,label", *rows]))
    declare("blood", source="folder", path="cells", labels="labels.csv", class_of={"junk": None})
    assert ingest("blood")[1]["label"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_as_pillow_turns_it(blood: None, ingest: Ingest, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    save("cells/Basophil/b.png", np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8), exif=exif)
    with Image.open("cells/Basophil/b.png") as stored:
        expected = np.asarray(ImageOps.exif_transpose(stored))
    np.testing.assert_array_equal(ingest("blood")[0][1], expected)
