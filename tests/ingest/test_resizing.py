"""Pictures resized to the task's shape (stretched, padded or cropped), and masks that stay exactly over them."""

from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from terracyte import tasks
from terracyte.ingest.sources.resizing import placement, resize_image, resize_mask, shape
from terracyte.params import TaskSpec
from terracyte.tasks.task import Task
from tests.conftest import Edit
from tests.ingest.conftest import SIZE, Declare, Ingest
from tests.ingest.test_folder import save

Fit = Literal["stretch", "pad", "crop"]
FITS: tuple[Fit, ...] = ("stretch", "pad", "crop")
MASKS = "data/mars/raw/masks.npy"


def task(fit: Fit, height: int = 32, width: int = 64, channels: Literal[1, 3] = 3) -> Task:
    """Return a segmentation task whose background is not class 0, so that bars are not right by chance."""
    classes = ("soil", "bedrock", "sand", "unlabelled")
    spec = TaskSpec(
        kind="segmentation",
        classes=classes,
        height=height,
        width=width,
        channels=channels,
        background="unlabelled",
        fit=fit,
    )
    return tasks.of("terrain", spec)


def noise(height: int, width: int, channels: int = 3) -> NDArray[np.uint8]:
    shape = (height, width, channels) if channels == 3 else (height, width)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def shrunk(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Return the whole picture as Pillow resizes it."""
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))


@pytest.mark.parametrize(
    ("fit", "size", "used", "filled"),
    [
        ("stretch", (50, 70), (0, 0, 50, 70), (0, 0, 32, 64)),
        ("pad", (64, 64), (0, 0, 64, 64), (0, 16, 32, 32)),
        ("pad", (32, 128), (0, 0, 32, 128), (8, 0, 16, 64)),
        ("pad", (8, 16), (0, 0, 8, 16), (0, 0, 32, 64)),
        ("pad", (100, 101), (0, 0, 100, 101), (0, 16, 32, 32)),
        ("pad", (5, 4000), (0, 0, 5, 4000), (15, 0, 1, 64)),
        ("crop", (64, 64), (16, 0, 32, 64), (0, 0, 32, 64)),
        ("crop", (32, 128), (0, 32, 32, 64), (0, 0, 32, 64)),
        ("crop", (8, 16), (0, 0, 8, 16), (0, 0, 32, 64)),
        ("crop", (5, 4000), (0, 1995, 5, 10), (0, 0, 32, 64)),
        ("crop", (1, 1), (0, 0, 1, 1), (0, 0, 32, 64)),
    ],
)
def test_where_a_picture_goes(fit: Fit, size: tuple[int, int], used: Any, filled: Any) -> None:
    """Used and filled regions are (top, left, height, width); the task's image has 32 rows and 64 columns."""
    place = placement(task(fit), *size)
    found = [(rows.start, columns.start, *shape((rows, columns))) for rows, columns in (place.used, place.filled)]
    assert found == [used, filled]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(50, 70), (8, 90), (32, 64)])
def test_stretching_is_plain_resizing(size: tuple[int, int], channels: Literal[1, 3]) -> None:
    pixels = noise(*size, channels)
    found = resize_image(task("stretch", channels=channels), Image.fromarray(pixels))
    np.testing.assert_array_equal(found, shrunk(pixels, 32, 64).reshape(32, 64, channels))


@pytest.mark.parametrize("channels", [1, 3])
def test_padding_adds_bars_of_the_mean_colour(channels: Literal[1, 3]) -> None:
    pixels = noise(64, 64, channels)
    found = resize_image(task("pad", channels=channels), Image.fromarray(pixels))
    inside = shrunk(pixels, 32, 32).reshape(32, 32, channels)
    np.testing.assert_array_equal(found[:, 16:48], inside)
    for bar in (found[:, :16], found[:, 48:]):
        np.testing.assert_allclose(bar, np.broadcast_to(inside.mean(axis=(0, 1)), bar.shape), atol=0.5)
    np.testing.assert_allclose(found.mean(axis=(0, 1)), inside.mean(axis=(0, 1)), atol=0.25)


def test_cropping_takes_the_middle() -> None:
    blocks = np.repeat(np.repeat(noise(32, 128), 2, axis=0), 2, axis=1)  # 2x2 equal pixels, which `reduce` merges again
    found = resize_image(task("crop"), Image.fromarray(blocks).reduce(2))
    np.testing.assert_array_equal(found, blocks[::2, 64:192:2])


def test_bars_of_a_mask_are_background() -> None:
    labels = np.zeros((64, 64), np.uint8)
    found = resize_mask(task("pad"), labels)
    assert found.dtype == np.uint8
    assert (found[:, 16:48] == 0).all()
    assert (found[:, :16] == 3).all()
    assert (found[:, 48:] == 3).all()


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [(96, 96), (32, 200), (90, 40)])
def test_masks_lie_exactly_over_shrunken_pictures(fit: Fit, size: tuple[int, int]) -> None:
    """The picture is drawn from its labels: each pixel whose four neighbours share its label must still show it."""
    of, (height, width) = task(fit), size
    labels = ((np.arange(height)[:, None] * 2 // height + np.arange(width) * 3 // width) % 3).astype(np.uint8)
    image = resize_image(of, Image.fromarray(100 * labels))[..., 0]
    mask = resize_mask(of, labels)
    flat = mask != 3
    for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
        flat &= np.roll(mask, step, axis) == mask
    assert flat.sum() > 100
    np.testing.assert_array_equal(image[flat], 100 * mask[flat])


@pytest.mark.parametrize(("fit", "size"), [("pad", (8, 8)), ("crop", (16, 16)), ("stretch", (8, 16))])
def test_masks_lie_exactly_over_enlarged_pictures(fit: Fit, size: tuple[int, int]) -> None:
    """After enlarging by 4, a class border lies between two pixels, where interpolation crosses the mean grey value."""
    labels = np.random.default_rng(0).integers(0, 2, (size[0] // 2, size[1] // 2)).astype(np.uint8)
    labels = labels.repeat(2, axis=0).repeat(2, axis=1)
    straight = np.broadcast_to(labels[:1], size)  # vertical borders only: corners of diagonal blocks are ambiguous
    image = resize_image(task(fit), Image.fromarray(200 * straight))[..., 0]
    mask = resize_mask(task(fit), straight)
    inside = mask != 3
    assert set(mask[inside]) == {0, 1}
    np.testing.assert_array_equal(image[inside] > 100, mask[inside] == 1)


@pytest.fixture
def stripes(declare: Declare) -> NDArray[np.uint8]:
    """Declare a picture of four stripes, twice as high as wide, and its upper half, so that class 1 survives `crop`."""
    classes = np.repeat(np.array([1, 2, 3, 1], np.uint8), SIZE // 2)[:, None].repeat(SIZE, axis=1)
    for name, mask in (("a", classes), ("b", classes[:SIZE])):
        save(f"terrain/images/{name}.png", 50 * mask)
        save(f"terrain/masks/{name}.png", mask)
    declare("mars", source="folder", path="terrain")
    return classes


@pytest.mark.parametrize(
    ("fit", "seen"),
    [("stretch", np.s_[::2, :]), ("crop", np.s_[SIZE // 2 : -SIZE // 2, :]), ("pad", np.s_[::2, ::2])],
)
def test_ingest_fits_pictures_and_masks(
    stripes: NDArray[np.uint8], edit: Edit, ingest: Ingest, fit: Fit, seen: Any
) -> None:
    edit("tasks.mars.fit", fit)
    images, _ = ingest("mars")
    expected = stripes[seen]
    bars = (SIZE - expected.shape[1]) // 2
    image, mask = (array[0].reshape(SIZE, SIZE)[:, bars : SIZE - bars] for array in (images, np.load(MASKS)))
    np.testing.assert_array_equal(mask, expected)
    np.testing.assert_allclose(image, 50.0 * expected, atol=24)  # below half a step: filtering mixes adjacent stripes
    outside = [array[0].reshape(SIZE, SIZE)[:, :bars] for array in (images, np.load(MASKS))]
    assert [set(np.unique(array)) for array in outside] == ([{88}, {0}] if bars else [set(), set()])  # 87.5 is the mean
