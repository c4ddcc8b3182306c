"""`terracyte predict`: what it reads, refuses and writes."""

import hashlib
import json
import os
import shutil
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageColor

from terracyte import cli, params, tasks
from terracyte.core import files, paths
from terracyte.core.errors import InputError
from terracyte.predict import inputs, predictor
from terracyte.promote import champion
from tests import champions
from tests.conftest import TASKS

pytestmark = pytest.mark.usefixtures("champions")

HEIGHT, WIDTH = 32, 32


def image(task: str, seed: int = 0) -> NDArray[np.uint8]:
    """Return a random picture in uint8, whose pixels PNG keeps exactly."""
    shape = (HEIGHT, WIDTH, 3) if task == "blood" else (HEIGHT, WIDTH)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def save(path: Path, pixels: NDArray[Any], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def folder(task: str, count: int = 5) -> Path:
    """Write pictures to a folder, some of them to sub-folders; return the folder."""
    names = ["b.png", "a/z.png", "a/y.PNG", "c/d/e.jpg", "a.jpeg"][:count]
    for number, name in enumerate(names):
        save(Path("in") / name, image(task, number))
    return Path("in")


def predict(task: str, given: Path, *options: str, output: str = "out") -> pd.DataFrame:
    cli.main(["predict", task, str(given), "--output", output, *options])
    return pd.read_csv(output if output.endswith(".csv") else Path(output) / "predictions.csv")


def refused(capsys: pytest.CaptureFixture[str], task: str, given: Path, *options: str, output: str = "out") -> str:
    """Run a command that must be refused and leave no file behind; return its one error line."""
    before = sorted(Path().rglob("*"))
    with pytest.raises(SystemExit) as exit_:
        cli.main(["predict", task, str(given), "--output", output, *options])
    message = capsys.readouterr().err
    lines = [line for line in message.splitlines() if line.startswith("error: ")]
    assert exit_.value.code == 2
    assert len(lines) == 1
    assert sorted(Path().rglob("*")) == before
    return lines[0]


@pytest.mark.parametrize("task", TASKS)
def test_a_folder_becomes_a_table(task: str) -> None:
    table = predict(task, folder(task))
    assert list(table["image"]) == ["a/y.PNG", "a/z.png", "a.jpeg", "b.png", "c/d/e.jpg"]
    scored = ["a", "b", "c", "d"] if task == "blood" else ["a", "b", "c"]
    first = ["image", "class"] if task == "blood" else ["image"]
    assert list(table.columns) == [*first, "confidence", "unfamiliar", *scored]
    assert table[scored].sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-3)
    assert table["unfamiliar"].dtype == bool
    assert table["unfamiliar"].all()  # the pictures are noise


def test_the_class_is_the_most_probable_one_and_confidence_its_probability() -> None:
    table = predict("blood", folder("blood"))
    probabilities = table[["a", "b", "c", "d"]]
    assert list(probabilities.idxmax(axis=1)) == list(table["class"])
    assert table["confidence"].to_numpy() == pytest.approx(probabilities.max(axis=1).to_numpy())


def test_masks_are_written_with_their_classes_and_overlays() -> None:
    table = predict("mars", folder("mars"))
    for part in ("overlays", "masks"):
        written = sorted(path.relative_to(f"out/{part}").as_posix() for path in Path("out", part).rglob("*.png"))
        assert written == sorted(f"{name}.png" for name in table["image"])
    with Image.open("out/overlays/b.png.png") as overlay:
        assert (overlay.mode, overlay.size) == ("RGB", (WIDTH, HEIGHT))
    classes = pd.read_csv("out/classes.csv")
    assert classes["class"].tolist() == list(predictor.read(paths.champion("mars")).task.classes)
    with Image.open("out/masks/b.png.png") as mask:
        labels, colours = np.asarray(mask), np.asarray(mask.convert("RGB"))
    row = table[table["image"] == "b.png"].iloc[0]
    for value, name, colour in classes.itertuples(index=False):
        assert name not in table or (labels == value).mean() == pytest.approx(row[name], abs=1e-4)
        assert (colours[labels == value] == ImageColor.getrgb(colour)).all()
    assert not list(Path("out").rglob(".*"))


@pytest.mark.parametrize("size", [1, 2, 64])
def test_batches_change_nothing(size: int) -> None:
    given = folder("blood")
    predict("blood", given, output="all.csv")
    predict("blood", given, "--batch", str(size), output="some.csv")
    pd.testing.assert_frame_equal(pd.read_csv("all.csv"), pd.read_csv("some.csv"), atol=2e-4)


def test_training_images_are_familiar() -> None:
    images = np.load(paths.images("blood"))
    manifest = pd.read_parquet(paths.balance_manifest("blood"))
    known = manifest[manifest["split"] == "train"]["id"].to_numpy()
    np.save("known.npy", images[known])
    assert predict("blood", Path("known.npy"))["unfamiliar"].mean() < 0.5


def test_arrays_and_pictures_of_the_same_pixels_agree() -> None:
    pixels = np.stack([image("blood", seed) for seed in range(3)])
    for number, one in enumerate(pixels):
        save(Path(f"in/{number}.png"), one)
    np.savez("blood.npz", images=pixels, labels=np.zeros(3))
    np.save("blood.npy", pixels)
    np.save("scaled.npy", pixels / 255)
    first = predict("blood", Path("in"), output="1.csv")
    for given, key in (("blood.npz", "images"), ("blood.npy", "blood"), ("scaled.npy", "scaled")):
        table = predict("blood", Path(given), output=f"{given}.csv")
        assert list(table["image"]) == [f"{key}[{row}]" for row in range(3)]
        pd.testing.assert_frame_equal(table.drop(columns="image"), first.drop(columns="image"))


def test_the_images_of_all_splits_are_read() -> None:
    pixels = np.stack([image("blood", seed) for seed in range(3)])
    np.save("all.npy", pixels)
    np.savez("splits.npz", train_images=pixels[:2], train_labels=np.zeros(2), test_images=pixels[2:] / 255)
    found, wanted = predict("blood", Path("splits.npz")), predict("blood", Path("all.npy"), output="all.csv")
    assert list(found["image"]) == ["train_images[0]", "train_images[1]", "test_images[0]"]
    pd.testing.assert_frame_equal(found.drop(columns="image"), wanted.drop(columns="image"), atol=2e-4)


def test_the_challenges_layout_of_masks_is_read() -> None:
    pixels = np.stack([image("mars", seed) for seed in range(3)]).astype(np.float64)
    pairs = np.stack([pixels, np.zeros_like(pixels)], axis=1)
    np.savez("both.npz", training_set=np.zeros((1, 2, HEIGHT, WIDTH)), test_set=pixels)
    np.savez("training.npz", training_set=pairs)
    np.save("plain.npy", pixels)
    np.savez("own.npz", images=pixels, masks=np.zeros_like(pixels), test_set=np.zeros(1))
    np.savez("keras.npz", x_train=pixels[:2], y_train=np.zeros_like(pixels[:2]), x_test=pixels[2:])
    files_given = ("both.npz", "training.npz", "plain.npy", "own.npz", "keras.npz")
    tables = [predict("mars", Path(given), output=f"{given}.csv") for given in files_given]
    assert list(tables[0]["image"]) == ["test_set[0]", "test_set[1]", "test_set[2]"]
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table.drop(columns="image"), tables[0].drop(columns="image"))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("how", ["stretch", "pad", "crop"])
def test_arrays_are_scaled_like_pictures(task: str, how: str) -> None:
    set_in_record(task, fit=how)
    shape = (3, 20, 50, 3) if task == "blood" else (3, 20, 50)
    large = np.random.default_rng(5).integers(0, 256, shape, np.uint8)
    for number, one in enumerate(large):
        save(Path(f"in/{number}.png"), one)
    np.savez("large.npz", images=large)
    np.save("large.npy", large)
    np.save("one.npy", large[1])
    pictured = predict(task, Path("in"), "--resize", output="1.csv").drop(columns="image")
    for given in ("large.npz", "large.npy"):
        table = predict(task, Path(given), "--resize", output=f"{given}.csv")
        pd.testing.assert_frame_equal(table.drop(columns="image"), pictured)
    one = predict(task, Path("one.npy"), "--resize", output="one.csv").drop(columns="image")
    pd.testing.assert_frame_equal(one, pictured.iloc[[1]].reset_index(drop=True), atol=2e-4)


def test_arrays_are_read_in_the_range_of_the_task_or_refused(capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.stack([image("mars", seed) for seed in range(3)])
    np.save("x.npy", pixels)
    wanted = predict("mars", Path("x.npy"), output="1.csv")
    set_in_record("mars", pixel_range=[0, 4080])
    pd.testing.assert_frame_equal(predict("mars", Path("x.npy"), output="2.csv"), wanted)
    np.save("x.npy", pixels.astype(np.uint16) * 16)
    pd.testing.assert_frame_equal(predict("mars", Path("x.npy"), output="3.csv"), wanted)
    np.save("x.npy", pixels / 255)
    assert "x.npy: 'x' does not fit the task's 'pixel_range', 0 to 4080" in refused(capsys, "mars", Path("x.npy"))


@pytest.mark.parametrize("task", TASKS)
def test_one_image_is_enough(task: str) -> None:
    save(Path("one.png"), image(task))
    np.save("one.npy", image(task))
    pictured, array = predict(task, Path("one.png"), output="1.csv"), predict(task, Path("one.npy"), output="2.csv")
    assert list(pictured["image"]) == ["one.png"]
    pd.testing.assert_frame_equal(pictured.drop(columns="image"), array.drop(columns="image"))


def test_channels_alpha_and_orientation() -> None:
    grey, colour = image("mars"), image("blood")
    opaque = np.concatenate([colour, np.full((HEIGHT, WIDTH, 1), 255, np.uint8)], axis=-1)
    turned = Image.Exif()
    turned[0x0112] = 3  # upside down
    for name, pixels, options in (
        ("1 colour", colour, {}),
        ("2 opaque", opaque, {}),
        ("3 turned", np.ascontiguousarray(colour[::-1, ::-1]), {"exif": turned}),
        ("4 grey", grey, {}),
        ("5 grey as colour", np.repeat(grey[..., None], 3, axis=-1), {}),
    ):
        save(Path(f"in/{name}.png"), pixels, **options)
    rows = predict("blood", Path("in")).drop(columns="image").to_numpy().tolist()
    assert rows[0] == rows[1] == rows[2] != rows[3]
    assert rows[3] == rows[4]


def test_other_sizes_are_refused_unless_told_to_scale(capsys: pytest.CaptureFixture[str]) -> None:
    folder("blood", 2)
    save(Path("in/wide.png"), np.zeros((48, 64, 3), np.uint8))
    message = refused(capsys, "blood", Path("in"))
    assert "in/wide.png is 64x48 pixels, blood images are 32x32" in message
    assert "--resize" in message
    assert len(predict("blood", Path("in"), "--resize")) == 3


def set_in_record(task: str, **values: Any) -> None:
    """Set keys of the champion's record, such as `fit`: how pictures are brought to the task's shape."""
    path = paths.champion(task) / champion.RECORD
    files.write_json(path, {**files.read_json(path), **values})
    champions.record(task)


@pytest.mark.parametrize(
    ("how", "size", "seen"),
    [("stretch", (32, 32), np.s_[:, :]), ("pad", (32, 16), np.s_[8:24]), ("crop", (32, 32), np.s_[:, :])],
)
def test_masks_are_of_the_pictures_own_pixels(how: str, size: tuple[int, int], seen: Any) -> None:
    """Overlays, shares and confidence do not include bars of padding; what cropping removes is not predicted."""
    set_in_record("mars", fit=how)
    wide = np.random.default_rng(3).integers(0, 256, (HEIGHT, 2 * WIDTH), np.uint8)
    save(Path("in/wide.png"), wide)
    table = predict("mars", Path("in"), "--resize")
    with Image.open("out/overlays/wide.png.png") as overlay:
        assert overlay.size == size
    model = predictor.read(paths.champion("mars"))
    picture = Image.fromarray(wide)
    shown = picture.crop((16, 0, 48, 32)) if how == "crop" else picture.resize(size, Image.Resampling.BILINEAR)
    image = np.full((HEIGHT, WIDTH), np.rint(np.asarray(shown).mean()), np.uint8)
    image[seen] = np.asarray(shown)
    predictions = model.predict(image[None, ..., None])
    labels = predictions.labels[0][seen]
    shares = [(labels == model.task.classes.index(name)).mean() for name in ("a", "b", "c")]
    assert table[["a", "b", "c"]].to_numpy()[0] == pytest.approx(shares, abs=1e-4)
    confidence = predictions.probabilities[0][seen].max(axis=-1).mean()
    assert table["confidence"][0] == pytest.approx(confidence, abs=1e-4)


def test_pictures_to_classify_are_padded_like_those_of_the_training() -> None:
    set_in_record("blood", fit="pad")
    colours = image("blood")[:16]
    save(Path("in/wide.png"), colours)
    padded = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    padded[:] = np.rint(colours.mean(axis=(0, 1)))
    padded[8:24] = colours
    np.save("padded.npy", padded)
    picture, array = predict("blood", Path("in"), "--resize"), predict("blood", Path("padded.npy"), output="array.csv")
    pd.testing.assert_frame_equal(picture.drop(columns="image"), array.drop(columns="image"))


def test_unreadable_pictures_are_refused_or_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    folder("blood", 2)
    Path("in/broken.png").write_bytes(Path("in/b.png").read_bytes()[:200])
    Path("in/empty.jpg").touch()
    save(Path("in/deep.png"), np.zeros((HEIGHT, WIDTH), np.uint16))
    save(Path("in/glass.png"), np.zeros((HEIGHT, WIDTH, 4), np.uint8))
    assert "in/broken.png" in refused(capsys, "blood", Path("in"))
    readable = predict("blood", Path("in"), "--skip-unreadable")["image"]
    assert len(readable) == 2
    skipped = [line for line in capsys.readouterr().err.splitlines() if line.startswith("skipped: ")]
    assert [line.split()[1] for line in skipped] == ["in/broken.png", "in/deep.png", "in/empty.jpg", "in/glass.png"]
    assert "8 bits" in skipped[1]
    assert "transparent" in skipped[3]
    for name in readable:
        Path("in", name).unlink()
    shutil.rmtree("out")
    assert "none of the pictures can be read: " in refused(capsys, "blood", Path("in"), "--skip-unreadable")


def test_what_is_no_picture_is_told_and_what_is_hidden_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    folder("blood", 2)
    Path("in/notes.txt").touch()
    save(Path("in/.hidden/x.png"), image("blood"))
    assert len(predict("blood", Path("in"))) == 2
    assert "1 files left out (not pictures, or results of an earlier prediction): notes.txt" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("nowhere", "nowhere is missing"),
        ("empty", "empty holds no pictures (jpg, png"),
        ("text", "holds no pictures (jpg, png, gif, bmp, tif or webp) to predict, only notes.txt"),
        ("notes.txt", "name a folder, a picture (jpg, png, gif, bmp, tif or webp), an .npz or an .npy"),
        ("mars.npz", "needed: images"),
        ("other.npz", "has shape (2, 8, 8, 3): for blood it must be (n, 32, 32, 3); --resize scales images"),
        ("channels.npz", "has shape (2, 32, 32, 4): for blood it must be (n, 32, 32, 3)"),
        ("other.npy", "has shape (2, 8, 8, 3): for blood it must be (n, 32, 32, 3)"),
        ("nan.npy", "holds the pixel value nan"),
        ("large.npy", "holds the pixel value 300"),
        ("words.npy", "must hold at least one image, as integers or floats"),
        ("objects.npy", "not an array of plain numbers"),
        ("half.npy", "is damaged"),
        ("broken.npz", "broken.npz is truncated, damaged or not an .npz file"),
    ],
)
def test_refuses_in_one_line(capsys: pytest.CaptureFixture[str], given: str, says: str) -> None:
    Path("empty").mkdir()
    Path("text").mkdir()
    Path("text/notes.txt").touch()
    Path("notes.txt").touch()
    good = np.zeros((2, HEIGHT, WIDTH, 3))
    np.savez("mars.npz", test_set=np.zeros((2, HEIGHT, WIDTH)))
    np.savez("other.npz", images=np.zeros((2, 8, 8, 3)))
    np.savez("channels.npz", images=np.zeros((2, HEIGHT, WIDTH, 4)))
    np.save("other.npy", np.zeros((2, 8, 8, 3)))
    np.save("nan.npy", np.where(np.arange(2)[:, None, None, None] == 1, np.nan, good))
    np.save("large.npy", good + 300)
    np.save("words.npy", np.array(["a", "b"]))
    np.save("objects.npy", np.array([{}, None], dtype=object))
    Path("half.npy").write_bytes(Path("large.npy").read_bytes()[:500])
    Path("broken.npz").write_bytes(Path("mars.npz").read_bytes()[:100])
    assert says in refused(capsys, "blood", Path(given))


def test_refuses_without_a_champion_or_with_anothers(capsys: pytest.CaptureFixture[str]) -> None:
    given = folder("blood")
    other = refused(capsys, "blood", given, "--model", str(paths.champion("mars")))
    assert "holds the champion of mars, not of blood" in other
    assert "holds no champion" in refused(capsys, "blood", given, "--model", "nowhere")
    assert "'sources.blod' is unknown; did you mean 'blood'?" in refused(capsys, "blod", given)
    (paths.champion("blood") / champion.NOVELTY).unlink()
    champions.record("blood")
    assert "novelty.npz is missing" in refused(capsys, "blood", given)
    paths.champion("blood").rename("elsewhere")
    paths.champion("blood").mkdir()
    assert "'against' in metrics/blood/promotion.json says why the best row was refused" in refused(
        capsys, "blood", given
    )
    paths.champion("blood").rmdir()
    Path("elsewhere").rename(paths.champion("blood"))
    (paths.champion("blood") / champion.RECORD).write_text("{")
    assert "champion.json is damaged" in refused(capsys, "blood", given)


def test_nothing_of_the_users_is_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    given = folder("blood")
    Path("full").mkdir()
    Path("full/thesis.txt").touch()
    assert "full exists already" in refused(capsys, "blood", given, output="full")
    Path("file").touch()
    assert "file exists already" in refused(capsys, "blood", given, output="file")
    Path("empty").mkdir()
    assert len(predict("blood", given, output="empty")) == 5
    predict("blood", given, output="table.csv")
    assert len(predict("blood", given, output="table.csv")) == 5


def test_an_interrupted_run_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    given = folder("blood")
    monkeypatch.setattr(predictor.Predictor, "predict", interrupt)
    with pytest.raises(SystemExit) as exit_:
        cli.main(["predict", "blood", str(given), "--output", "out"])
    assert exit_.value.code == 130
    assert not Path("out").exists()


def test_memory_does_not_grow_with_the_array() -> None:
    task = tasks.make("blood", params.load())
    rows = 20_000  # 61 MB
    np.lib.format.open_memmap("many.npy", "w+", np.uint8, (rows, HEIGHT, WIDTH, 3)).flush()
    tracemalloc.start()
    found = inputs.read(task, Path("many.npy"), 64)
    assert sum(len(batch.names) for batch in found.batches) == found.total == rows
    assert tracemalloc.get_traced_memory()[1] < 40 * 2**20
    tracemalloc.stop()


def test_a_record_without_a_task_is_damaged() -> None:
    files.write_json(paths.champion("blood") / champion.RECORD, [])
    with pytest.raises(InputError, match="damaged"):
        champion.read_record(paths.champion("blood"))


@pytest.mark.parametrize(
    ("key", "value"), [("classes", "abc"), ("height", "32"), ("background", 9), ("background", [0]), ("kind", 1e400)]
)
def test_a_record_of_other_values_is_refused(capsys: pytest.CaptureFixture[str], key: str, value: object) -> None:
    path = paths.champion("mars") / champion.RECORD
    path.write_text(json.dumps(files.read_json(path) | {key: value}))
    assert f"champion.json: '{key}' is" in refused(capsys, "mars", folder("mars"))


def test_links_are_followed_and_earlier_overlays_passed_over(capsys: pytest.CaptureFixture[str]) -> None:
    given = folder("mars")
    Path("elsewhere").mkdir()
    save(Path("elsewhere/far.png"), image("mars", 9))
    (given / "linked").symlink_to(Path("elsewhere").resolve())
    (given / "around").symlink_to(given.resolve())
    first = predict("mars", given, output=str(given / "earlier"))
    assert "linked/far.png" in list(first["image"])
    capsys.readouterr()
    second = predict("mars", given, output="out2")
    assert list(second["image"]) == list(first["image"])
    assert "left out (not pictures, or results of an earlier prediction): " in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "darwin", reason="its file names are always UTF-8")
def test_a_name_that_is_not_utf_8_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    given = folder("blood")
    picture = Path(given) / os.fsdecode(b"\xff.png")
    next(Path(given).glob("*.png")).rename(picture)
    for what in (Path(given), picture):
        assert r"holds '\udcff.png', whose name is not UTF-8: rename it" in refused(capsys, "blood", what)


def test_files_of_two_champions_are_no_champion(capsys: pytest.CaptureFixture[str]) -> None:
    given, ours = folder("blood"), paths.champion("blood")

    def said(file: str, content: bytes) -> str:
        before = (ours / file).read_bytes()
        (ours / file).write_bytes(content)
        champions.record("blood")
        found = refused(capsys, "blood", given)
        (ours / file).write_bytes(before)
        assert "restore it with `dvc checkout data/blood/champion`" in found
        return found

    for temperature in (b"NaN", b"0", b"-1", b"Infinity"):
        assert "must be positive and finite" in said(champion.CALIBRATION, b'{"temperature": %s}' % temperature)
    other = (paths.champion("mars") / champion.NOVELTY).read_bytes()
    assert "'mean_colours' is float64" in said(champion.NOVELTY, other)
    record = files.read_json(ours / champion.RECORD)
    more = {**record, "classes": [*record["classes"], "another"]}
    assert "model.keras has 4 classes, but data/blood/champion/champion.json lists 5" in said(
        champion.RECORD, json.dumps(more).encode()
    )


def test_the_output_may_be_a_link_to_a_folder_but_not_where_one_stands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given, model = folder("mars").resolve(), paths.champion("mars").resolve()
    Path("out").mkdir()
    Path("link").symlink_to("out")
    predict("mars", given, output="link")
    assert Path("link").is_symlink()
    assert Path("out/predictions.csv").exists()
    Path("empty").mkdir()
    monkeypatch.chdir("empty")
    digest = hashlib.sha256((model / champion.MODEL).read_bytes()).hexdigest()
    assert "the folder you are in" in refused(
        capsys, "mars", given, "--model", str(model), "--sha256", digest, output="."
    )


@pytest.mark.parametrize("name", [champion.RECORD, champion.CALIBRATION, champion.NOVELTY, champion.MODEL])
@pytest.mark.parametrize("content", [b"", b"<<<<<<< HEAD\n{}\n"])
def test_a_damaged_file_of_a_champion_is_one_line(
    capsys: pytest.CaptureFixture[str], name: str, content: bytes
) -> None:
    (paths.champion("blood") / name).write_bytes(content)
    champions.record("blood")  # otherwise the error would be that the champion changed
    said = refused(capsys, "blood", folder("blood"))
    assert said.startswith(f"error: data/blood/champion/{name} ")
    assert "restore it with `dvc checkout data/blood/champion`" in said


def test_rows_are_named_by_their_place_in_the_whole_array(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "_CHUNK_BYTES", 3 * HEIGHT * WIDTH * 3)
    np.save("many.npy", np.stack([image("blood", seed) for seed in range(7)]))
    found = predict("blood", Path("many.npy"), "--batch", "2")["image"]
    assert list(found) == [f"many[{row}]" for row in range(7)]


@pytest.mark.parametrize("task", TASKS)
def test_confidence_is_calibrated_by_the_champion_s_temperature(task: str) -> None:
    given = np.load(paths.images(task))[:2]
    file = paths.champion(task) / champion.CALIBRATION
    found = []
    for temperature in (1.0, 4.0):
        files.write_json(file, {**files.read_json(file), "temperature": temperature})
        found.append(np.log(predictor.read(paths.champion(task)).predict(given).probabilities))
    sharp, flat = (each - each.mean(axis=-1, keepdims=True) for each in found)
    np.testing.assert_allclose(flat, sharp / 4, atol=1e-4)
