"""`terracyte new`: the experiment that it writes for a user's images is valid, and is ingested as declared."""

import contextlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from stages import balance, clean, ingest, validate
from terracyte import cli, params
from terracyte.core import files, paths
from terracyte.new import proposal
from terracyte.params.check import check
from tests.conftest import ROOT
from tests.pictures import colours_of_16_bits

COLOURS = [(0, 0, 0), (220, 20, 60), (0, 130, 180)]


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder, which is the working directory."""
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    (tmp_path / "stages").symlink_to(ROOT / "stages")
    (tmp_path / "data/weights").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save(path: str, pixels: NDArray[Any] | Image.Image) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(path)


def noise(seed: int, *shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def class_folders(*names: str, count: int = 6, shape: tuple[int, ...] = (40, 60, 3)) -> None:
    for label, name in enumerate(names):
        for number in range(count):
            save(f"pictures/{name}/c{number}.png", noise(100 * label + number, *shape))


def segmentation(values: list[int], count: int = 6, mask_of: Any = Image.fromarray) -> None:
    """Write images, and masks of vertical stripes of the values."""
    mask = np.tile(np.repeat(np.array(values, np.uint8), 16), (48, 1))
    for number in range(count):
        save(f"pictures/images/f{number}.png", noise(number, *mask.shape))
        save(f"pictures/masks/f{number}.png", mask_of(mask))


def made(*options: str, name: str = "mine", images: str = "pictures") -> params.Params:
    """Run `terracyte new` and check the result as `terracyte check` does; return its parameters."""
    cli.main(["new", name, images, *options])
    check(Path(name))
    return params.load(Path(name))


def ingested(monkeypatch: pytest.MonkeyPatch, name: str = "mine") -> pd.DataFrame:
    with contextlib.chdir(name):
        monkeypatch.setattr(sys, "argv", ["ingest", name])
        ingest.main()
        return pd.read_parquet(paths.raw_manifest(name))


def masks(name: str = "mine") -> NDArray[np.uint8]:
    return np.asarray(np.load(Path(name) / paths.masks(name)))


def balanced(monkeypatch: pytest.MonkeyPatch, name: str = "mine") -> tuple[pd.DataFrame, dict[str, Any]]:
    """Run the stages up to `balance`; return the manifest and the summary of `balance`."""
    with contextlib.chdir(name):
        for stage in (ingest, validate, clean, balance):
            monkeypatch.setattr(sys, "argv", [stage.__name__, name])
            stage.main()
        return pd.read_parquet(paths.balance_manifest(name)), files.read_json(paths.balance(name))


def split_counts(found: pd.DataFrame) -> dict[str, int]:
    return {str(name): int(count) for name, count in found["split"].value_counts().items()}


def refused(capsys: pytest.CaptureFixture[str], *options: str, name: str = "mine", images: str = "pictures") -> str:
    before = sorted(Path().rglob("*"))
    with pytest.raises(SystemExit) as exit_:
        cli.main(["new", name, images, *options])
    assert exit_.value.code == 2
    assert sorted(Path().rglob("*")) == before
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_class_folders_become_an_experiment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["immature (IG)", "mono & macro", "50% band"]
    class_folders(*names)
    settings = made()
    spec = settings.tasks["mine"]
    assert (spec.kind, spec.classes, spec.channels) == ("classification", tuple(sorted(names)), 3)
    assert (spec.height, spec.width) == (48, 64)  # 40 and 60 rounded to multiples of 16
    assert list(settings.experiment.rows) == [
        f"mine-{row}" for row in ("baseline", "plain", "augmented", "pretrained", "best")
    ]
    for row in settings.experiment.rows:
        settings.config(row)
    assert ingested(monkeypatch)["label"].tolist() == [0] * 6 + [1] * 6 + [2] * 6
    printed = capsys.readouterr().out
    assert "refused" not in printed
    assert "18 in pictures" in printed
    assert "60x40 (18)" in printed
    assert "50% band 6, immature (IG) 6, mono & macro 6" in printed


def test_grey_pictures_have_one_channel_and_sixteen_bits_a_range() -> None:
    ramp = np.tile(np.linspace(1000, 3000, 60).astype(np.uint16), (40, 1))
    for name in "ab":
        for number in range(4):
            save(f"pictures/{name}/{number}.png", ramp + number)
    spec = made().tasks["mine"]
    assert spec.channels == 1
    assert spec.pixel_range == pytest.approx((1000, 3003), abs=5)


def test_transparent_pictures_become_flat(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class_folders("a", "b")
    clear = Image.fromarray(noise(9, 40, 60, 3)).convert("RGBA")
    clear.putpixel((0, 0), (0, 0, 0, 0))
    save("pictures/a/clear.png", clear)
    assert made().tasks["mine"].transparent == "flatten"
    assert "RGB (12), RGBA (1), 8 bits, 1 transparent in places: these will become white" in capsys.readouterr().out
    assert len(ingested(monkeypatch)) == 13


def test_labels_and_groups_from_a_csv(monkeypatch: pytest.MonkeyPatch) -> None:
    class_folders("x")
    rows = "".join(f"x/c{number}.png,{'ab'[number % 2]},P{number // 2}\n" for number in range(6))
    Path("pictures/labels.csv").write_text(f"file,label,patient\n{rows}")
    settings = made("--labels", "pictures/labels.csv", "--groups", "patient")
    assert settings.tasks["mine"].classes == ("a", "b")
    manifest = ingested(monkeypatch)
    assert manifest["label"].tolist() == [0, 1] * 3
    assert manifest["declared_group"].tolist() == ["P0", "P0", "P1", "P1", "P2", "P2"]


def test_columns_that_nothing_reads_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    class_folders("x", "y")
    rows = "".join(f"{name}/c{number}.png,{name},P{number},7\n" for name in "xy" for number in range(6))
    Path("pictures/labels.csv").write_text(f"file,label,patient,age\n{rows}")
    Path("pictures/groups.csv").write_text("file,ward\n")
    made()
    assert (
        "not read                      groups.csv (ward), labels.csv (label, patient, age); " in capsys.readouterr().out
    )
    made("--labels", "pictures/labels.csv", "--groups", "patient", name="other")
    assert "not read                      groups.csv (ward), labels.csv (age); " in capsys.readouterr().out


def test_a_split_in_folders_is_shown_and_kept_but_for_a_leak(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, (split, count) in enumerate({"train": 24, "Test": 6}.items()):
        for label, name in enumerate("ab"):
            for number in range(count):
                save(f"pictures/{split}/{name}/{number}.png", noise(1000 * seed + 100 * label + number, 40, 60, 3))
    shutil.copy("pictures/Test/a/0.png", "pictures/train/a/0.png")
    settings = made()
    assert settings.tasks["mine"].classes == ("a", "b")
    assert settings.balance["mine"].split == "given"
    assert (
        "split, as given               train 48, test 12; validation will be cut from train" in capsys.readouterr().out
    )
    found, summary = balanced(monkeypatch)
    assert split_counts(found) == {"train": 39, "test": 12, "validation": 8}
    assert (found["split"] == "test").equals(found["declared_split"] == "test")
    assert (summary["given"]["copies_dropped"], summary["given"]["cut_from_train"]) == (1, {"validation": 8})
    assert "there is no validation, so 8 images were cut from train" in capsys.readouterr().out


def test_a_split_of_images_with_masks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, split in enumerate(("train", "val", "test")):
        for number in range(8):
            stripes = np.roll(np.repeat(np.array([0, 1, 2], np.uint8), 16), 3 * number)
            save(f"pictures/{split}/images/f{number}.png", noise(100 * seed + number, 48, 48))
            save(f"pictures/{split}/masks/f{number}.png", np.tile(stripes, (48, 1)))
    settings = made()
    assert (settings.tasks["mine"].kind, settings.experiment.sources["mine"].images) == ("segmentation", "images")
    assert "train 8, validation 8, test 8" in capsys.readouterr().out
    assert split_counts(balanced(monkeypatch)[0]) == {"train": 8, "validation": 8, "test": 8}


@pytest.mark.parametrize(("column", "options"), [("split", ()), ("fold", ("--split", "fold"))])
def test_a_split_in_a_column(monkeypatch: pytest.MonkeyPatch, column: str, options: tuple[str, ...]) -> None:
    class_folders("x", count=24)
    parts = ["train", "train", "validation", "test"]
    rows = "".join(f"x/c{number}.png,{'ab'[number // 4 % 2]},{parts[number % 4]}\n" for number in range(24))
    Path("pictures/labels.csv").write_text(f"file,label,{column}\n{rows}")
    assert made("--labels", "pictures/labels.csv", *options).experiment.sources["mine"].split_column == column
    assert split_counts(balanced(monkeypatch)[0]) == {"train": 12, "validation": 6, "test": 6}


def test_classes_as_columns_of_a_csv(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class_folders("x")
    rows = "".join(f"c{number},{number % 2},{(number + 1) % 2},0,{number}\n" for number in range(6))
    Path("pictures/labels.csv").write_text(f"image_id,rust,scab,mould,age\n{rows}")
    assert made("--labels", "pictures/labels.csv").tasks["mine"].classes == ("rust", "scab")
    assert "not read                      labels.csv (age); " in capsys.readouterr().out
    assert ingested(monkeypatch)["label"].tolist() == [1, 0] * 3


def test_a_csv_of_excel_gives_classes_and_split(monkeypatch: pytest.MonkeyPatch) -> None:
    class_folders("x", count=24)
    rows = "".join(f"x\\c{n};{'ab'[n % 2]};{('train', 'val', 'test', 'train')[n // 6]}\n" for n in range(24))
    Path("pictures/labels.csv").write_text(f"Filename;Class;Split\n{rows}")
    assert made("--labels", "pictures/labels.csv").experiment.sources["mine"].split_column == "Split"
    splits = ingested(monkeypatch)["declared_split"]
    assert splits.value_counts().to_dict() == {"train": 12, "validation": 6, "test": 6}


def test_a_column_called_split_that_holds_none_is_no_split() -> None:
    class_folders("x", count=6)
    rows = "".join(f"x/c{number}.png,{'ab'[number % 2]},fold {number}\n" for number in range(6))
    Path("pictures/labels.csv").write_text(f"file,label,split\n{rows}")
    assert made("--labels", "pictures/labels.csv").experiment.sources["mine"].split_column is None


def test_an_archive_of_arrays_with_a_split(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    arrays: dict[str, Any] = {}
    for seed, (split, count) in enumerate({"train": 20, "val": 6, "test": 8}.items()):
        arrays |= {f"{split}_images": noise(seed, count, 28, 28), f"{split}_labels": np.arange(count)[:, None] % 2 + 1}
    np.savez_compressed("digits.npz", **arrays)
    settings = made(images="digits.npz")
    spec, source = settings.tasks["mine"], settings.experiment.sources["mine"]
    assert (spec.kind, spec.classes, spec.channels) == ("classification", ("class 1", "class 2"), 1)
    assert (source.source, source.path, source.class_of) == ("npz", "../digits.npz", {"1": "class 1", "2": "class 2"})
    assert "34 in digits.npz" in (printed := capsys.readouterr().out)
    assert "28x28 (34)" in printed
    assert "train 20, validation 6, test 8" in printed
    found, _ = balanced(monkeypatch)
    assert split_counts(found) == {"train": 20, "test": 8, "validation": 6}
    assert found.groupby(["split", "label"]).size().tolist() == [4, 4, 10, 10, 3, 3]


@pytest.mark.parametrize(
    ("scale", "expected"),
    [(1, None), (1.0, None), (1 / 255, None), (16, (0, 4080)), (1 / 127.5, (0, 2)), (-100.0, (-25500, 0))],
)
def test_arrays_of_any_depth_get_their_range(scale: float, expected: tuple[float, float] | None) -> None:
    images = np.tile(np.arange(32 * 32).reshape(1, 32, 32) % 256, (20, 1, 1)) * scale
    beside: dict[str, Any] = {"y": np.zeros((20, 2, 3)), "y_names": np.array([{}])}  # which belong to no X
    np.savez_compressed("x.npz", images=images, labels=np.arange(20) % 2, **beside)
    spec = made(images="x.npz").tasks["mine"]
    assert spec.pixel_range == (pytest.approx(expected, rel=0.01, abs=30) if expected else None)


def test_a_white_picture_does_not_widen_the_range() -> None:
    ramp = np.tile(np.linspace(0, 2000, 60).astype(np.uint16), (40, 1))
    for number in range(60):
        save(f"pictures/{'ab'[number % 2]}/{number}.png", ramp)
    for number, value in enumerate((65535, 0)):
        save(f"pictures/a/flat{number}.png", np.full((40, 60), value, np.uint16))
    save("pictures/b/odd.png", ramp * 10)
    assert made().tasks["mine"].pixel_range == pytest.approx((0, 2000), abs=10)


def test_truth_values_get_a_range() -> None:
    np.savez_compressed("x.npz", images=noise(0, 20, 32, 32) > 99, labels=np.arange(20) % 2)
    assert made(images="x.npz").tasks["mine"].pixel_range == (0, 1)


def test_pictures_that_exif_turns_get_a_size_as_they_are_seen(capsys: pytest.CaptureFixture[str]) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6  # orientation: a quarter turn
    for number in range(12):
        Path(f"pictures/{'ab'[number % 2]}").mkdir(parents=True, exist_ok=True)
        path = f"pictures/{'ab'[number % 2]}/{number}.jpg"
        Image.fromarray(noise(number, 64, 96, 3)).save(path, exif=turned)
    spec = made().tasks["mine"]
    assert (spec.height, spec.width) == (96, 64)
    assert "64x96 (12)" in capsys.readouterr().out


def test_the_folder_may_have_any_name() -> None:
    class_folders("a", "b")
    Path("pictures").rename("x\nheight: 1")
    assert made(images="x\nheight: 1").tasks["mine"].classes == ("a", "b")


def test_dark_pictures_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    np.savez_compressed("x.npz", images=noise(0, 20, 32, 32) % 16, labels=np.arange(20) % 2)
    made(images="x.npz")
    assert "no pixel exceeds 15 of 255: scale the pictures, or all are nearly black" in capsys.readouterr().out


def test_sparse_arrays_of_few_values_get_all_of_their_range() -> None:
    images = np.zeros((20, 64, 64), np.int64)
    images[:, 0, 0] = 2
    np.savez_compressed("x.npz", images=images, labels=np.arange(20) % 2)
    assert made(images="x.npz").tasks["mine"].pixel_range == (0, 2)


def test_an_archive_as_keras_and_scikit_learn_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed("x.npz", X=noise(0, 12, 32, 32), y=np.arange(12)[:, None] % 2)
    assert made(images="x.npz").tasks["mine"].kind == "classification"
    assert ingested(monkeypatch)["label"].tolist() == [0, 1] * 6
    stripes = np.tile(np.repeat(np.array([0, 1], np.uint8), 16), (6, 32, 1))
    arrays: dict[str, Any] = {
        "x_train": noise(1, 6, 32, 32),
        "y_train": stripes,
        "x_test": noise(2, 6, 32, 32),
        "y_test": stripes,
    }
    np.savez_compressed("masks.npz", **arrays)
    assert made(images="masks.npz", name="masked").tasks["masked"].kind == "segmentation"
    assert ingested(monkeypatch, "masked")["declared_split"].tolist() == ["test"] * 6 + ["train"] * 6


def test_an_archive_of_arrays_with_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    stripes = np.tile(np.repeat(np.array([0, 1, 2, 255], np.uint8), 12), (5, 48, 1))
    np.savez_compressed("scans.npz", images=noise(0, 5, 48, 48, 3), masks=stripes)
    spec = made(images="scans.npz").tasks["mine"]
    assert (spec.kind, spec.background) == ("segmentation", "not labelled")
    assert "declared_split" not in ingested(monkeypatch)
    assert masks()[0, 0, ::12].tolist() == [1, 2, 3, 0]


def test_an_archive_with_labels_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed("x.npz", images=noise(0, 20, 32, 32), labels=np.array(["dog", "cat"] * 10))
    settings = made(images="x.npz")
    assert settings.tasks["mine"].classes == ("cat", "dog")
    assert ingested(monkeypatch)["label"].tolist() == [1, 0] * 10


def test_arrays_that_nothing_reads_are_told_and_groups_stay_together(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sites = np.repeat([f"site {number}" for number in range(10)], 4)
    np.savez_compressed("x.npz", images=noise(0, 40, 32, 32), labels=np.arange(40) % 2, site=sites, age=np.arange(40))
    made(images="x.npz")
    assert "age, site; --groups names the array" in capsys.readouterr().out
    shutil.rmtree("mine")
    settings = made("--groups", "site", images="x.npz")
    assert "the array site" in (printed := capsys.readouterr().out)
    assert "not read                      age;" in printed
    assert settings.experiment.sources["mine"].group_column == "site"
    found, _ = balanced(monkeypatch)
    assert (found.groupby("declared_group")["split"].nunique() == 1).all()
    assert found["declared_group"].nunique() == 10


def test_classes_of_too_few_groups_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Balance would refuse them after three stages: no group is parted."""
    patients = np.array(["Ada", "Bo", "Cy", "Ada", "Bo", "Bo"] * 5)  # class 1, every second image, is of Ada and Bo
    np.savez_compressed("x.npz", images=noise(0, 30, 32, 32), labels=np.arange(30) % 2, patient=patients)
    made("--groups", "patient", images="x.npz")
    line = next(each for each in capsys.readouterr().out.splitlines() if each.startswith("refused"))
    assert "each of 3 splits needs an image of every class, but 'class 1' has only 15 in 2 groups: add images" in line
    assert "class 0" not in line


def test_classes_in_too_few_masks_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    masks = np.tile(np.repeat(np.array([0, 1], np.uint8), 16), (6, 32, 1))
    masks[2:4, 0, 0] = 7
    np.savez_compressed("x.npz", images=noise(0, 6, 32, 32), masks=masks)
    made(images="x.npz")
    wanted = "needs an image of every class, but 'value 7' has only 2: add images, or merge or drop the class ('mask_v"
    assert wanted in capsys.readouterr().out
    for number, mask in enumerate(masks):
        save(f"pictures/images/{number}.png", noise(number, 32, 32))
        save(f"pictures/masks/{number}.png", mask)
    shutil.rmtree("mine")
    made()
    assert wanted in capsys.readouterr().out


def test_blocks_may_be_empty_and_what_they_record_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    class_folders("a", "b", count=20)
    made()
    file = Path("mine/params.yaml")
    blocks = params.read_yaml(file)
    for block in ("validate", "clean", "balance", "tune", "promote"):
        blocks[block]["mine"] = {}
    file.write_text(json.dumps(blocks))
    check(Path("mine"))
    found, summary = balanced(monkeypatch)
    records = {"validate": paths.validation("mine"), "clean": paths.cleaning("mine"), "balance": paths.balance("mine")}
    for block, path in records.items():
        blocks[block]["mine"] = files.read_json(Path("mine") / path)["measured"]
    assert set(blocks["clean"]["mine"]) == {"near_duplicate_correlation", "distance"}
    file.write_text(json.dumps(blocks))
    again, without = balanced(monkeypatch)
    pd.testing.assert_frame_equal(again, found)
    assert summary == without | {"measured": blocks["balance"]["mine"]}


def test_a_given_split_that_lacks_a_class_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    class_folders("train/a", "train/b", "test/a")
    made()
    printed = capsys.readouterr().out
    assert "each split, also one cut from train, needs an image of every class, but test has only 0 of 'b'" in printed
    assert "': add images" in printed
    assert "'split: own' in params.yaml" in printed


@pytest.mark.parametrize(
    ("values", "classes", "mask_values", "background"),
    [
        ([0, 1, 2], ("value 0", "value 1", "value 2"), {}, None),
        ([0, 255], ("value 0", "value 255"), {"value 0": 0, "value 255": 255}, None),
        (
            [0, 128, 255],
            ("value 0", "value 128", "value 255"),
            {"value 0": 0, "value 128": 128, "value 255": 255},
            None,
        ),
        (
            [0, 1, 2, 255],
            ("not labelled", "value 0", "value 1", "value 2"),
            {"value 0": 0, "value 1": 1, "value 2": 2},
            "not labelled",
        ),
        (
            [0, 5, 15, 255],
            ("not labelled", "value 0", "value 5", "value 15"),
            {"value 0": 0, "value 5": 5, "value 15": 15},
            "not labelled",
        ),
    ],
)
def test_values_of_masks_become_classes(
    monkeypatch: pytest.MonkeyPatch,
    values: list[int],
    classes: tuple[str, ...],
    mask_values: dict[str, int],
    background: str | None,
) -> None:
    segmentation(values)
    settings = made()
    spec, source = settings.tasks["mine"], settings.experiment.sources["mine"]
    assert (spec.kind, spec.classes, spec.background) == ("segmentation", classes, background)
    assert source.mask_values == mask_values
    ingested(monkeypatch)
    expected = [classes.index("not labelled" if v == 255 and background else f"value {v}") for v in values]
    assert masks()[0, 0, ::16].tolist() == expected


def test_colours_of_masks_become_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    segmentation([0, 1, 2], mask_of=lambda mask: Image.fromarray(np.array(COLOURS, np.uint8)[mask]))
    settings = made()
    assert settings.tasks["mine"].classes == ("colour 0-0-0", "colour 0-130-180", "colour 220-20-60")
    ingested(monkeypatch)
    assert masks()[0, 0, ::16].tolist() == [0, 2, 1]


def test_masks_may_lie_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    segmentation([0, 1])
    Path("pictures/masks").rename("pictures/truth")
    Path("pictures/images").rename("pictures/photos")
    cli.main(["new", "mine", "pictures/photos", "--masks", "pictures/truth"])
    source = params.load(Path("mine")).experiment.sources["mine"]
    assert (source.path, source.images, source.masks) == ("../pictures", "photos", "truth")


def test_thresholds_rise_where_images_are_alike_by_nature() -> None:
    """A common background alone must not make images near duplicates of each other."""
    class_folders("a", "b", count=20)
    far = made(name="far")
    common = noise(0, 40, 60, 3)
    for label, name in enumerate("ab"):
        for number in range(20):
            pixels = common.copy()
            pixels[: 4 + number % 3] = noise(100 * label + number, 4 + number % 3, 60, 3)
            save(f"pictures/{name}/c{number}.png", pixels)
    near = made(name="near")
    assert (far.clean["far"].near_duplicate_correlation, far.balance["far"].group_correlation) == (0.93, 0.75)
    assert near.balance["near"].group_correlation > 0.75


def test_images_and_masks_of_splits_under_other_names_are_to_be_renamed(capsys: pytest.CaptureFixture[str]) -> None:
    """Advice to name one split's folders would lose the other splits."""
    for split in ("train", "test"):
        class_folders(f"{split}/image", f"{split}/mask", count=2)
    assert "look like images and masks, not classes: rename them to images and masks in each split" in refused(capsys)
    shutil.rmtree("pictures/test")
    Path("pictures/train").rename("elsewhere")
    Path("elsewhere").rename("pictures/sub")
    said = refused(capsys, images="pictures/sub")
    assert "give pictures/sub/image --masks pictures/sub/mask" in said


def test_what_may_not_be_meant_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Splits of other names become classes, and masks beside their pictures are pictures of the class."""
    for split in ("training_set", "test_set"):
        class_folders(f"{split}/cat", f"{split}/dog", count=4)
    made()
    line = "look at                       below the classes lie the folders cat, dog: a picture's class is its topmost"
    assert line in capsys.readouterr().out
    for folder in ("mine", "pictures"):
        shutil.rmtree(folder)
    class_folders("benign", "malignant", count=4)
    for number in range(3):
        save(f"pictures/benign/c{number}_mask.png", noise(number, 40, 60))
    made()
    line = (
        "look at                       3 pictures are called like another one of their folder and mask, such as c0_mask"
    )
    assert line in (printed := capsys.readouterr().out)
    assert "below the classes" not in printed


def test_what_ingest_and_balance_will_refuse_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    class_folders("many", "few")
    for number in range(4):
        Path(f"pictures/few/c{number}.png").unlink()
    Path("pictures/many/c0.png").write_bytes(b"text")
    Path("pictures/many/notes.db").touch()
    Path("pictures/empty").mkdir()
    Path("pictures/many/c1.png").write_bytes(colours_of_16_bits(40))
    made()
    printed, noted = capsys.readouterr()
    assert "refused                       files that are not jpg, png, gif, bmp" in printed
    assert ": many/notes.db\n" in printed
    assert "folders without pictures, which cannot be classes: empty\n" in printed
    assert "pictures/many/c1.png has 16 bits per channel" in noted
    assert "refused                       pictures/many/c0.png is not a jpg, png" in printed
    assert "each of 3 splits needs an image of every class, but 'few' has only 2" in printed
    shutil.rmtree("pictures")
    segmentation([0, 1])
    Path("pictures/masks/f0.png").write_bytes(b"text")
    Path("pictures/masks/f1.png").rename("pictures/masks/other.png")
    save("pictures/masks/f2.png", np.zeros((8, 8), np.uint8))
    made(name="other")
    printed = capsys.readouterr().out
    assert "pictures/masks/f0.png is not a jpg, png" in printed
    assert "pictures/masks/f2.png has 8x8 pixels, but its image 32x48" in printed
    assert "1 files in pictures/images without a partner of the same name in pictures/masks: f1.png" in printed


def test_shares_of_classes_are_expected_as_validate_measures_them() -> None:
    segmentation([0, 1, 255, 255])  # half of the pixels have no class
    assert made().validate["mine"].class_share == params.Share(low=0.125, high=0.375)


def test_masks_of_two_kinds_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    segmentation([0, 255])
    save("pictures/masks/f3.png", np.zeros((48, 32, 3), np.uint8))
    assert "pictures/masks/f0.png holds numbers and pictures/masks/f3.png holds colours" in refused(capsys)
    save("pictures/masks/f3.png", Image.fromarray(np.eye(48, 32) > 0))
    assert "pictures/masks/f0.png holds numbers and pictures/masks/f3.png holds single bits" in refused(capsys)
    for number in range(6):
        indexed = Image.fromarray(np.tile(np.array([0, 1], np.uint8), (48, 16)), "P")
        indexed.putpalette([0, 0, 0, 220, 20, 60] if number < 5 else [0, 0, 0, 0, 130, 180])
        save(f"pictures/masks/f{number}.png", indexed)
    line = refused(capsys)
    assert (
        "the value 1 is the colour [0, 130, 180] in pictures/masks/f5.png but [220, 20, 60] in pictures/masks" in line
    )
    shutil.rmtree("pictures")
    class_folders("Images", "Labels")
    assert "not classes: give pictures/Images --masks pictures/Labels" in refused(capsys)
    segmentation([0, 255])
    save("pictures/masks/f0.png", noise(0, 48, 32, 4))
    assert "pictures/masks/f0.png has transparent pixels" in refused(capsys)
    save("pictures/masks/f0.png", Image.new("LA", (32, 48)))
    assert "pictures/masks/f0.png is grey with transparency: save masks without" in refused(capsys)


def test_what_cannot_become_one_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("pictures").mkdir()
    assert "pictures holds neither a folder of jpg, png" in refused(capsys)
    class_folders("train", "test")
    assert "pictures holds the splits test, train: there must be a folder for each class" in refused(capsys)
    np.savez("pictures/a.npz", images=noise(0, 4, 32, 32), labels=np.zeros((4, 14)))
    assert (
        "'labels' has shape (4, 14), but 'images' has (4, 32, 32); one label per image is needed: save argmax"
        in refused(capsys, images="pictures/a.npz")
    )
    np.savez("pictures/a.npz", images=noise(0, 4, 32, 32), labels=np.zeros(4))
    assert "the labels have 1 different values; there must be 2 to 1000 classes" in refused(
        capsys, images="pictures/a.npz"
    )
    np.savez("pictures/a.npz", images=noise(0, 4, 32, 32, 4), labels=np.arange(4))
    assert "it must be (n, h, w), (n, h, w, 1) or (n, h, w, 3)" in refused(capsys, images="pictures/a.npz")
    assert "--split is for folders" in refused(capsys, "--split", "patient", images="pictures/a.npz")
    assert "needed: patient" in refused(capsys, "--groups", "patient", images="pictures/a.npz")
    shutil.rmtree("pictures")
    class_folders("only")
    assert "pictures holds only one class, 'only'" in refused(capsys)
    Path("masks").mkdir()
    assert "contains this project, which DVC would track with the images: put the images into a folder" in refused(
        capsys, "--masks", "masks"
    )
    for name in ("my-cells", "True"):
        assert f"NAME is '{name}'" in refused(capsys, name=name)
    assert "stages exists already and stays as it is" in refused(capsys, name="stages")
    segmentation([0, 1])
    save("pictures/masks/f0.png", noise(0, 48, 32))
    assert "pictures/masks/f0.png: masks hold more than 32 different values" in refused(capsys)
    Image.new("L", (32, 48)).save("pictures/masks/f0.jpg")
    Path("pictures/masks/f0.png").unlink()
    assert "pictures/masks/f0.jpg is a jpg, whose compression alters" in refused(capsys)


def test_masks_of_one_class_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    segmentation([7, 7])
    assert "masks hold only the value 7: at least two classes are needed" in refused(capsys)
    segmentation([0, 0], mask_of=lambda mask: Image.new("RGB", mask.shape[::-1], (255, 0, 0)))
    assert "masks hold only the value [255, 0, 0]: at least two classes are needed" in refused(capsys)


def test_what_no_picture_can_be_read_of_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    class_folders("a", "b")
    for path in Path("pictures").glob("*/*.png"):
        path.write_bytes(colours_of_16_bits(40))
    assert "none of 12 pictures can be used; the first: pictures/a/c0.png has 16 bits per channel" in refused(capsys)
    shutil.rmtree("pictures")
    for folder in ("images", "masks"):
        Path("pictures", folder).mkdir(parents=True)
    assert "there are no images with masks" in refused(capsys)
    segmentation([0, 1])
    for path in Path("pictures/masks").iterdir():
        path.write_bytes(b"no picture")
    assert "no pair of image and mask can be read; the first: pictures/masks/f0.png" in refused(capsys)


@pytest.mark.parametrize(
    ("images", "masks"), [("image", "label"), ("JPEGImages", "SegmentationClass"), ("images", "gt")]
)
def test_folders_of_images_and_masks_are_no_classes(
    images: str, masks: str, capsys: pytest.CaptureFixture[str]
) -> None:
    class_folders(images, masks)
    assert f"classes: give pictures/{images} --masks pictures/{masks}" in refused(capsys)


def test_folders_of_boxes_are_no_masks(capsys: pytest.CaptureFixture[str]) -> None:
    class_folders("images")
    Path("pictures/labels").mkdir()
    Path("pictures/labels/c0.txt").write_text("0 0.5 0.5 0.1 0.1")
    assert "pictures/labels holds no pictures; boxes and polygons (json, xml, txt) are not read" in refused(capsys)


def test_classes_in_the_only_folder_are_to_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    class_folders("pets/cats", "pets/dogs")
    advice = "at least two are needed; if its folders cats, dogs are the classes, give pictures/pets"
    assert advice in refused(capsys)
    shutil.rmtree("pictures/pets/dogs")
    assert refused(capsys).endswith("only one class, 'pets': at least two are needed")


def test_labels_in_a_csv_that_cannot_be_meant_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    class_folders("a", "b")
    sheet = Path("pictures/l.csv")

    def said(text: str, *options: str) -> str:
        sheet.write_text(text)
        return refused(capsys, "--labels", str(sheet), *options)

    assert "pictures/l.csv lists no pictures" in said("file,label\n")
    assert "names 'a/x.png', which is missing in pictures: add it, or correct" in said("file,label\na/x.png,a\n")
    assert "is missing in pictures (but there is a/c0.png)" in said("file,label\nC0.jpg,a\n")
    assert "'a/c0.png' has the label 'a|b': an image has one class" in said("file,label\na/c0.png,a|b\n")
    assert "'a/c0.png' has no label" in said("file,label\na/c0.png,\n")
    assert "--masks to each pixel: leave one of them out" in said("file,label\na/c0.png,a\n", "--masks", "pictures/a")
    split = "file,label,split\na/c0.png,a,train\nb/c0.png,b,tset\n"
    assert "'b/c0.png' has the split 'tset'" in said(split)
    rows = "".join(f"{name}/c{number}.png,{name}\n" for name in "ab" for number in range(6))
    assert "lacks the column 'patnt'" in said(f"file,label\n{rows}", "--groups", "patnt")


def test_classes_that_differ_in_letter_case_only_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    class_folders("Cat", "cat", "dog")
    made()
    assert "'Cat', 'cat' are alike" in capsys.readouterr().out


def test_a_class_may_be_called_by_an_emoji() -> None:
    class_folders("a", "\N{GRINNING FACE}")
    assert made().tasks["mine"].classes == ("a", "\N{GRINNING FACE}")


@pytest.mark.parametrize(("speed", "epochs"), [(1, 60), (1 / 256, 6)])
def test_a_slow_machine_is_proposed_fewer_epochs(speed: float, epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class_folders("a", "b", count=40, shape=(128, 128, 3))
    monkeypatch.setattr(proposal, "relative_speed", lambda: speed)
    assert made().reference["mine"]["epochs"] == epochs


def test_size_depth_epochs_and_minutes_follow_from_the_images(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class_folders("a", "b", shape=(64, 256, 3))
    monkeypatch.setattr(proposal, "relative_speed", lambda: 1 / 1024)
    settings = made()
    spec, reference = settings.tasks["mine"], settings.reference["mine"]
    assert (spec.height, spec.width, reference["depth"]) == (32, 128, 2)
    # 8 of 12 images are for training; 17.2 images of 32x128 pixels are trained in a minute
    assert (reference["epochs"], reference["weight_averaging"]) == (17, 0.9)
    assert "a row takes about             8 min on one core" in capsys.readouterr().out
