"""Masks as users have them: what their values mean, and how they are aligned with pictures that EXIF turns."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from terracyte.core import paths
from terracyte.ingest.sources import masks
from tests.ingest.conftest import SIZE, Declare, Ingest, Refusal

Values = NDArray[np.uint8]
COLOURS = {"background": [0, 0, 0], "soil": [220, 20, 60], "bedrock": [0, 130, 180], "big rock": [9, 9, 9]}


def stripes(*values: int) -> Values:
    """Return equally wide vertical stripes of these values."""
    return np.tile(np.repeat(np.array(values, np.uint8), SIZE // len(values)), (SIZE, 1))


def write(mask: Image.Image | Values, stem: str = "a", ending: str = "png", **options: Any) -> None:
    """Write a mask and a grey picture of the same size."""
    mask = mask if isinstance(mask, Image.Image) else Image.fromarray(mask)
    for folder, picture in (("images", Image.new("L", mask.size, 50)), ("masks", mask)):
        Path(f"terrain/{folder}").mkdir(parents=True, exist_ok=True)
        picture.save(f"terrain/{folder}/{stem}.{'png' if folder == 'images' else ending}", **options)


@pytest.fixture
def read(declare: Declare, ingest: Ingest) -> Any:
    """Ingest masks with the declared settings; return the class numbers, (n, h, w)."""

    def run(**declared: Any) -> Any:
        declare("mars", source="folder", path="terrain", **declared)
        ingest("mars")
        return np.load(paths.masks("mars"))

    return run


@pytest.fixture
def refused(declare: Declare, refusal: Refusal) -> Any:
    def run(**declared: Any) -> str:
        declare("mars", source="folder", path="terrain", **declared)
        return refusal("mars")

    return run


def test_class_numbers_need_no_declaration(read: Any) -> None:
    write(stripes(0, 1, 2, 3))
    np.testing.assert_array_equal(read(), [stripes(0, 1, 2, 3)])


def test_grey_values_mean_what_is_declared(read: Any) -> None:
    write(stripes(0, 128, 255, 7))
    found = read(mask_values={"soil": 255, "bedrock": 128, "big rock": 7, "background": 0})
    np.testing.assert_array_equal(found, [stripes(0, 2, 1, 3)])


def test_ignored_pixels_are_background(read: Any) -> None:
    write(stripes(255, 1, 2, 3))
    np.testing.assert_array_equal(read(ignore=255), [stripes(0, 1, 2, 3)])


def test_masks_without_a_number_for_the_background(read: Any) -> None:
    write(stripes(0, 1, 2, 255))
    found = read(mask_values={"soil": 0, "bedrock": 1, "big rock": 2}, ignore=255)
    np.testing.assert_array_equal(found, [stripes(1, 2, 3, 0)])


def test_colours_are_classes(read: Any) -> None:
    write(Image.fromarray(np.array(list(COLOURS.values()), np.uint8)[stripes(3, 1, 0, 2)]))
    np.testing.assert_array_equal(read(mask_values=COLOURS), [stripes(3, 1, 0, 2)])


@pytest.mark.parametrize(
    "soil",
    [[1, 9], [[1], [9]], [1, 9, 77, 78], [[1], [9], [77]]],
    ids=["two", "two in brackets", "four", "three in brackets"],
)
def test_several_numbers_may_mean_one_class(read: Any, soil: Any) -> None:
    write(stripes(0, 1, 9, 4, 5, 6, 0, 9))
    found = read(mask_values={"background": 0, "soil": soil, "bedrock": [4, 6], "big rock": 5})
    np.testing.assert_array_equal(found, [stripes(0, 1, 1, 2, 3, 2, 0, 1)])


def test_several_colours_may_mean_one_class(read: Any) -> None:
    seen = [[0, 0, 0], [255, 0, 0], [200, 0, 0], [0, 130, 180], [9, 9, 9]]
    write(Image.fromarray(np.array(seen, np.uint8)[stripes(2, 1, 3, 4)]))
    found = read(mask_values={"soil": [[255, 0, 0], [200, 0, 0]], "bedrock": [0, 130, 180], "big rock": [[9, 9, 9]]})
    np.testing.assert_array_equal(found, [stripes(1, 1, 2, 3)])


def test_what_is_not_labelled_goes_with_several_values(read: Any) -> None:
    write(stripes(255, 3, 4, 5, 6, 0, 3, 255))
    found = read(mask_values={"soil": [3, 4], "bedrock": 5, "big rock": 6, "background": 0}, ignore=255)
    np.testing.assert_array_equal(found, [stripes(0, 1, 1, 2, 3, 0, 1, 0)])


def test_other_values_snap_to_the_nearest_of_all(read: Any) -> None:
    write(stripes(0, 30, 59, 90, 200, 255, 110, 7))
    found = read(mask_values={"soil": [10, 100], "bedrock": [50], "big rock": [220, 250]}, snap_masks=True)
    np.testing.assert_array_equal(found, [stripes(1, 1, 2, 1, 3, 3, 1, 1)])


@pytest.mark.parametrize("declared", [{}, {"mask_values": COLOURS}], ids=["indices", "colours"])
def test_palettes_are_read_by_index_or_by_colour(read: Any, declared: dict[str, Any]) -> None:
    picture = Image.fromarray(stripes(3, 1, 0, 2))
    picture.putpalette([channel for colour in COLOURS.values() for channel in colour])
    write(picture)
    np.testing.assert_array_equal(read(**declared), [stripes(3, 1, 0, 2)])


def test_a_number_in_two_colours_is_refused(refused: Any, read: Any) -> None:
    colours = [*COLOURS.values()]
    for stem, order in (("a", [0, 1, 2, 3]), ("b", [0, 2, 1, 3])):
        picture = Image.fromarray(stripes(order[3], order[1], order[0], order[2]))
        picture.putpalette([channel for place in order for channel in colours[place]])
        write(picture, stem)
    first, second = "terrain/masks/a.png", "terrain/masks/b.png"
    assert f"the value 1 is the colour [0, 130, 180] in {second} but [220, 20, 60] in {first}" in refused()
    np.testing.assert_array_equal(read(mask_values=COLOURS), [stripes(3, 1, 0, 2)] * 2)


def test_jpgs_are_refused_or_snapped_and_counted(read: Any, refused: Any, capsys: pytest.CaptureFixture[str]) -> None:
    write(stripes(0, 85, 170, 255), ending="jpg", quality=60)
    declared = {"mask_values": {"background": 0, "soil": 85, "bedrock": 170, "big rock": 255}}
    assert "terrain/masks/a.jpg is a jpg, whose compression alters the values" in refused(**declared)
    Path("data/mars/raw/images.npy").unlink()
    found = read(**declared, snap_masks=True)
    np.testing.assert_array_equal(found, [stripes(0, 1, 2, 3)])
    values = np.asarray(Image.open("terrain/masks/a.jpg"))
    moved = int((~np.isin(values, [0, 85, 170, 255])).sum())
    assert moved > 0
    assert f"note: terrain: {moved} values ({moved / SIZE**2:.2%} of the masks' pixels)" in capsys.readouterr().err


def test_classes_that_resizing_takes_from_masks_are_told(read: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A pixel between the sampled ones is lost; what only the background loses matters to nobody."""
    large = stripes(1, 2, 1, 3).repeat(4, 0).repeat(4, 1)
    write(large, "a")
    dotted = np.where(large == 3, 1, large)
    dotted[0, 0], dotted[0, 1] = 3, 0
    write(dotted, "b")
    found = read()
    assert not (found[1] == 3).any()
    (line,) = [each for each in capsys.readouterr().err.splitlines() if "no longer show" in each]
    assert line == (
        f"note: terrain: resized to {SIZE}x{SIZE} pixels, some masks no longer show a class: big rock in 1 of 2; if "
        "these objects matter, raise 'tasks.mars.height' and 'width' in params.yaml"
    )


def test_two_readings_are_both_named(refused: Any) -> None:
    """Either the rarest class is absent, or the masks number the classes without the background."""
    write(stripes(0, 1, 2, 255))
    line = refused()
    assert "terrain/masks/a.png holds 255 in 256 pixels, first at row 0, column 24" in line
    assert "'ignore: 255'" in line
    assert "'mask_values: {soil: 0, bedrock: 1, big rock: 2, background: 255}'" in line


@pytest.mark.parametrize(
    ("classes", "background", "values", "expected"),
    [
        (["background", "crater"], None, {0, 255}, ["mask_values: {background: 0, crater: 255}"]),
        (["none", "a", "b"], 0, {0, 128, 255}, ["mask_values: {none: 0, a: 128, b: 255}"]),
        (["none", "a", "b"], 0, {0, 255}, ["ignore: 255", "mask_values: {a: 0, b: 1, none: 255}"]),
        (["a", "b"], None, {0, 1}, []),
        (["a", "b"], None, {0, 7, 9}, []),
    ],
)
def test_what_values_could_mean(
    classes: list[str], background: int | None, values: set[int], expected: list[str]
) -> None:
    assert masks.readings(tuple(classes), background, values) == expected


def test_values_that_no_class_has_are_named(refused: Any) -> None:
    write(stripes(0, 128, 255, 7))
    line = refused(mask_values={"soil": 255, "bedrock": 128, "big rock": 8, "background": 0})
    assert "holds 7 in 256 pixels, first at row 0, column 24" in line
    assert "(the masks together hold 0, 7, 128, 255)" in line


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({"mask_values": {"soil": 1}}, "'sources.mars.mask_values' has no value for bedrock, big rock"),
        ({"mask_values": {"sol": 1}}, "'sources.mars.mask_values.sol' is unknown; did you mean 'soil'"),
        ({"mask_values": {**COLOURS, "soil": 3}}, "'sources.mars' mixes numbers and colours"),
        ({"mask_values": {"soil": 1, "bedrock": 1, "big rock": 2}}, "the value 1 stands for two classes"),
        ({"ignore": 3}, "the value 3 stands for two classes"),
        ({"snap_masks": True}, "'sources.mars.snap_masks' needs 'mask_values'"),
        ({"mask_values": {**COLOURS, "soil": [0, 0, 256]}}, "a colour in 'sources.<task>' is [0, 0, 256]"),
        ({"mask_values": {"soil": "red"}}, "'sources.mars.mask_values.soil' is 'red' (str)"),
        ({"mask_values": {"soil": [1, "red"]}}, "'sources.mars.mask_values.soil[1]' is 'red' (str)"),
        ({"mask_values": {"soil": [1, [2]]}}, "'sources.mars.mask_values.soil[0]' is 1 (int); it must be a list"),
        ({"mask_values": {"soil": []}}, "'sources.<task>.mask_values' has an empty list"),
        ({"mask_values": {"soil": [[]]}}, "'sources.<task>.mask_values' has the inner list []"),
        ({"mask_values": {"soil": [[1, 2], [3]]}}, "has the inner list [1, 2]; it must hold one number, or red, green"),
        ({"mask_values": {**COLOURS, "soil": [[0, 0, 256]]}}, "a colour in 'sources.<task>' is [0, 0, 256]"),
        ({"mask_values": {"soil": [1, 2], "bedrock": [3, 2], "big rock": 4}}, "the value 2 stands for two classes"),
        (
            {"mask_values": {"soil": [1, 2, 3], "bedrock": 4, "big rock": 5}},
            "a list of three numbers is one colour: write three values of a class as [[3], [4], [5]]",
        ),
        (
            {"mask_values": COLOURS},
            "terrain/masks/a.png is grey, but 'mask_values' in experiment.yaml declares colours",
        ),
    ],
)
def test_declarations_that_cannot_be_meant_are_refused(refused: Any, declared: dict[str, Any], expected: str) -> None:
    write(stripes(0, 1, 2, 3))
    assert expected in refused(**declared)


@pytest.mark.parametrize(("mode", "suffix"), [("LA", ".png"), ("I;16B", ".tif")])
def test_grey_masks_of_any_depth_have_no_colours(refused: Any, mode: str, suffix: str) -> None:
    write(stripes(0, 1, 2, 3))
    Path("terrain/masks/a.png").unlink()
    Image.new(mode, (SIZE, SIZE)).save(f"terrain/masks/a{suffix}")
    assert f"terrain/masks/a{suffix} is grey, but 'mask_values'" in refused(mask_values=COLOURS, snap_masks=True)


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def write_turned(shape: tuple[int, int], orientation: int, mask: Values, **of_mask: Any) -> None:
    write(stripes(0, 1, 2, 3), stem="upright")
    Image.new("L", shape[::-1], 50).save("terrain/images/a.jpg", exif=turned(orientation))
    Image.fromarray(mask).save("terrain/masks/a.png", **of_mask)


def test_a_mask_that_follows_stored_pixels_is_turned_with_them(read: Any) -> None:
    """Where EXIF swaps width and height, the mask's size shows whether it follows the stored or the upright pixels."""
    stored = np.repeat(stripes(0, 1, 2, 3), 2, axis=0)  # twice as high as wide
    write_turned((2 * SIZE, SIZE), 6, stored)
    expected = np.rot90(stored, -1)[:, ::2]  # orientation 6: viewers turn the picture clockwise
    np.testing.assert_array_equal(read()[0], expected)


def test_a_mask_of_the_upright_size_stays(read: Any) -> None:
    upright = np.repeat(stripes(0, 1, 2, 3), 2, axis=1)
    write_turned((2 * SIZE, SIZE), 6, upright)
    np.testing.assert_array_equal(read()[0], stripes(0, 1, 2, 3))


def test_a_mask_with_exif_of_its_own_is_turned_by_it(read: Any) -> None:
    write_turned((SIZE, SIZE), 3, stripes(0, 1, 2, 3), exif=turned(3))
    np.testing.assert_array_equal(read()[0], stripes(3, 2, 1, 0))


def test_white_of_one_bit_is_the_value_that_means_something(read: Any, refused: Any) -> None:
    write(Image.fromarray(stripes(0, 1, 0, 1) > 0))
    write(stripes(0, 7, 8, 9), stem="b")
    values = {"background": 0, "bedrock": 7, "big rock": 8}
    found = read(mask_values={**values, "soil": [1, 9]})
    np.testing.assert_array_equal(found[0], stripes(0, 1, 0, 1))
    found = read(mask_values={**values, "soil": [255, 9]})
    np.testing.assert_array_equal(found[0], stripes(0, 1, 0, 1))
    shutil.rmtree("data/mars")
    line = refused(mask_values={**values, "soil": [1, 255, 9, 10]})
    assert "a.png has one bit per pixel, which may mean 1 or 255" in line


def test_a_mask_of_neither_size_is_told_as_such(refused: Any) -> None:
    write_turned((SIZE, SIZE), 3, stripes(0, 1, 2, 3)[:8])
    assert "terrain/masks/a.png has 32x8 pixels, its image 32x32; they must have the same size" in refused()


def test_erased_pixels_of_a_colour_mask_are_no_class(refused: Any) -> None:
    colours = np.full((SIZE, SIZE, 4), (220, 0, 0, 255), np.uint8)
    colours[:4, :4, 3] = 0
    write(Image.fromarray(colours))
    values = {"soil": [220, 0, 0], "bedrock": [0, 1, 0], "big rock": [0, 0, 1], "background": [0, 0, 0]}
    assert "terrain/masks/a.png has transparent pixels, whose colours are invisible" in refused(mask_values=values)


def test_where_nothing_tells_a_setting_does(read: Any, refused: Any) -> None:
    write_turned((SIZE, SIZE), 3, stripes(0, 1, 2, 3))
    line = refused()
    assert "terrain/masks/a.png is not turned by EXIF, but its image is (orientation 3)" in line
    assert "'sources.mars.masks_follow' in experiment.yaml to stored" in line
    Path("data/mars/raw/images.npy").unlink()
    np.testing.assert_array_equal(read(masks_follow="stored")[0], stripes(3, 2, 1, 0))
    np.testing.assert_array_equal(read(masks_follow="upright")[0], stripes(0, 1, 2, 3))


def test_colours_snap_to_the_nearest_in_red_green_and_blue(read: Any) -> None:
    colours = np.array([(1, 2, 1), (215, 90, 60), (40, 130, 180), (30, 0, 20)], np.uint8)
    write(Image.fromarray(np.tile(colours.repeat(SIZE // 4, axis=0), (SIZE, 1, 1))))
    # packed into one number, (40, 130, 180) would be nearest to (40, 0, 0)
    found = read(mask_values={**COLOURS, "big rock": [40, 0, 0]}, snap_masks=True)
    np.testing.assert_array_equal(found, [stripes(0, 1, 2, 3)])


def test_a_value_may_be_declared_twice_for_one_class(read: Any) -> None:
    write(stripes(255, 1, 2, 3))
    found = read(mask_values={"background": [0, 255], "soil": 1, "bedrock": 2, "big rock": 3}, ignore=255)
    np.testing.assert_array_equal(found, [stripes(0, 1, 2, 3)])


def test_lossy_webp_is_refused_as_jpg_is(refused: Any) -> None:
    write(stripes(0, 1, 2, 3), ending="webp")
    assert "terrain/masks/a.webp is a webp, whose compression alters the values" in refused()


def test_fractions_are_no_values(refused: Any) -> None:
    write(stripes(0, 1, 2, 3), stem="b")
    write(Image.fromarray(stripes(0, 1, 2, 3).astype(np.float32) + 0.5), ending="tif")
    assert "terrain/masks/a.tif is not a grey picture of whole numbers, but F" in refused()


def test_values_of_sixteen_bits_stay_apart(read: Any) -> None:
    write(Image.fromarray(np.array([0, 256, 257, 65535], np.uint16)[stripes(0, 1, 2, 3)]))
    found = read(mask_values={"background": 0, "soil": 256, "bedrock": 257, "big rock": 65535})
    np.testing.assert_array_equal(found, [stripes(0, 1, 2, 3)])


def test_large_masks_are_looked_up_in_parts(read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masks, "_AT_ONCE", 100)
    write(stripes(0, 1, 2, 3).T)
    np.testing.assert_array_equal(read(), [stripes(0, 1, 2, 3).T])


def test_a_mask_with_as_many_pixels_in_another_shape_is_refused(refused: Any) -> None:
    write(stripes(0, 1, 2, 3))
    Image.fromarray(stripes(0, 1, 2, 3).reshape(SIZE // 2, 2 * SIZE)).save("terrain/masks/a.png")
    assert "terrain/masks/a.png has 64x16 pixels, its image 32x32; they must have the same size" in refused()


def test_snapped_pixels_are_counted_at_the_size_of_the_task(read: Any, capsys: pytest.CaptureFixture[str]) -> None:
    large = stripes(0, 1, 2, 9).repeat(2, 0).repeat(2, 1)
    write(large)
    read(mask_values={"background": 0, "soil": 1, "bedrock": 2, "big rock": 8}, snap_masks=True)
    assert f"terrain: {SIZE**2 // 4} values (25.00% of the masks' pixels)" in capsys.readouterr().err
