"""The embedded sample follows its recipes: it is deterministic and imbalanced, with known defects."""

import dataclasses
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from ruamel.yaml import YAML

from terracyte import params, tasks
from terracyte.core.errors import InputError
from terracyte.images.statistics import describe
from terracyte.ingest.sources import sample
from terracyte.promote import novelty
from tests.conftest import ROOT, Edit


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A whole sample, the recipe that it follows, and the Hamming distances (n, n) of its perceptual hashes."""

    images: NDArray[np.uint8]
    targets: NDArray[Any]
    defects: NDArray[np.str_]
    names: list[str]
    recipe: dict[str, Any]
    distances: NDArray[np.uint8]

    def of(self, defect: str) -> NDArray[np.int64]:
        """Rows with this defect."""
        return np.flatnonzero(self.defects == defect)

    def twins(self, row: int) -> NDArray[np.int64]:
        """Other rows with the same image."""
        same = (self.images == self.images[row]).all(axis=(1, 2, 3))
        same[row] = False
        return np.flatnonzero(same)

    def difference(self, row: int) -> NDArray[np.float64]:
        """Mean absolute difference of each image to that of `row`, in grey levels; infinite for `row` itself."""
        differences: NDArray[np.float64]
        differences = np.abs(self.images.astype(np.int16) - self.images[row]).mean(axis=(1, 2, 3))
        differences[row] = np.inf
        return differences


def draw(task: str) -> Drawn:
    settings = params.load()
    made = tasks.make(task, settings)
    batches = list(sample.read(made, settings.experiment.sources[task]))
    images = np.concatenate([batch.images for batch in batches])
    targets = np.concatenate([np.asarray(batch.masks if made.dense else batch.labels) for batch in batches])
    hashes = describe(images)["perceptual_hash"].to_numpy(np.uint64)
    return Drawn(
        images=images,
        targets=targets,
        defects=np.array([defect for batch in batches for defect in batch.defects or ()]),
        names=[name for batch in batches for name in batch.names],
        recipe=params.read_yaml(Path(settings.experiment.sources[task].path)),
        distances=np.bitwise_count(hashes[:, None] ^ hashes),
    )


@pytest.fixture(scope="module")
def _root() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        yield


@pytest.fixture(scope="module")
def blood(_root: None) -> Drawn:
    return draw("blood")


@pytest.fixture(scope="module")
def mars(_root: None) -> Drawn:
    return draw("mars")


def test_blood_has_the_declared_form_and_numbers(blood: Drawn) -> None:
    assert blood.images.shape[1:] == (96, 96, 3)
    assert blood.images.dtype == np.uint8
    assert len(set(blood.names)) == len(blood.names) == len(blood.images)
    assert 650 <= len(blood.images) <= 750
    planted = blood.recipe["planted"]
    assert Counter(blood.defects.tolist()) == {
        "": sum(blood.recipe["cells"].values()) - planted["conflicting_duplicate"],
        "repeated_image": planted["repeated_image"] + planted["repeated_image_one_label"],
        "exact_duplicate": planted["exact_duplicate"],
        "conflicting_duplicate": 2 * planted["conflicting_duplicate"],
        "near_duplicate": planted["near_duplicate"],
        "off_distribution": planted["off_distribution"],
    }


def test_mars_has_the_declared_form_and_numbers(mars: Drawn) -> None:
    assert mars.images.shape[1:] == (64, 128, 1)
    assert mars.targets.shape[1:] == (64, 128)
    assert mars.images.dtype == mars.targets.dtype == np.uint8
    assert 270 <= len(mars.images) <= 330
    recipe, planted = mars.recipe, mars.recipe["planted"]
    places = recipe["views"] + recipe["drives"] * recipe["frames"] + sum(recipe["constant"].values())
    assert Counter(mars.defects.tolist()) == {
        "": places + 1 - planted["conflicting_duplicate"],
        "repeated_mask": planted["repeated_mask"],
        "exact_duplicate": planted["exact_duplicate"],
        "conflicting_duplicate": 2 * planted["conflicting_duplicate"],
        "near_duplicate": planted["near_duplicate"],
        "off_distribution": planted["off_distribution"],
    }


def test_defects_are_spread_over_the_sample(blood: Drawn, mars: Drawn) -> None:
    for drawn in (blood, mars):
        defective = np.flatnonzero(drawn.defects != "")
        assert (np.bincount(defective * 4 // len(drawn.defects), minlength=4) >= 3).all()


def test_blood_classes_are_imbalanced_as_in_reality(blood: Drawn) -> None:
    shares = np.bincount(blood.targets[blood.defects == ""]) / (blood.defects == "").sum()
    # Shares of the 11,959 real cells.
    real = np.array([852, 2181, 1085, 2026, 849, 993, 2330, 1643]) / 11959
    assert np.abs(shares - real).max() < 0.02


def test_mars_classes_are_imbalanced_as_in_reality(mars: Drawn) -> None:
    shares = np.bincount(mars.targets.ravel(), minlength=5) / mars.targets.size
    real = np.array([0.26, 0.28, 0.36, 0.09, 0.005])
    assert np.abs(shares - real).max() < 0.06
    assert 0.003 < shares[4] < 0.012


def test_big_rocks_are_in_few_images(mars: Drawn) -> None:
    with_rock = (mars.targets[mars.defects == ""] == 4).any(axis=(1, 2))
    assert 0.08 < with_rock.mean() < 0.2


@pytest.mark.parametrize("name", ["blood", "mars"])
def test_exact_duplicates_repeat_an_earlier_genuine_picture(name: str, request: pytest.FixtureRequest) -> None:
    drawn: Drawn = request.getfixturevalue(name)
    for row in drawn.of("exact_duplicate"):
        (original,) = drawn.twins(row)
        assert original < row
        assert drawn.defects[original] == ""
        assert np.array_equal(drawn.targets[original], drawn.targets[row])


@pytest.mark.parametrize("name", ["blood", "mars"])
def test_conflicting_duplicates_are_pairs_that_disagree(name: str, request: pytest.FixtureRequest) -> None:
    drawn: Drawn = request.getfixturevalue(name)
    for row in drawn.of("conflicting_duplicate"):
        (other,) = drawn.twins(row)
        assert drawn.defects[other] == "conflicting_duplicate"
        assert not np.array_equal(drawn.targets[other], drawn.targets[row])


@pytest.mark.parametrize("name", ["blood", "mars"])
def test_near_duplicates_differ_a_little_from_an_earlier_genuine_picture(
    name: str, request: pytest.FixtureRequest
) -> None:
    drawn: Drawn = request.getfixturevalue(name)
    for row in drawn.of("near_duplicate"):
        differences = drawn.difference(row)
        original = int(differences.argmin())
        assert 0 < differences[original] < 4
        assert original < row
        assert drawn.defects[original] == ""
        assert np.array_equal(drawn.targets[original], drawn.targets[row])


@pytest.mark.parametrize("name", ["blood", "mars"])
def test_genuine_pictures_are_no_duplicates_of_one_another(name: str, request: pytest.FixtureRequest) -> None:
    drawn: Drawn = request.getfixturevalue(name)
    genuine = np.flatnonzero(drawn.defects == "")
    assert len(np.unique(drawn.images[genuine], axis=0)) == len(genuine)
    for first, second in np.argwhere(np.triu(drawn.distances <= 6, 1)):
        if {first, second} <= set(genuine):
            assert drawn.difference(first)[second] > 4


@pytest.mark.parametrize("name", ["blood", "mars"])
def test_pictures_off_the_distribution_are_single(name: str, request: pytest.FixtureRequest) -> None:
    drawn: Drawn = request.getfixturevalue(name)
    for row in drawn.of("off_distribution"):
        assert len(drawn.twins(row)) == 0
        assert drawn.difference(row).min() > 10


@pytest.mark.parametrize("name", ["blood", "mars"])
def test_jokes_are_unlike_genuine_pictures(name: str, request: pytest.FixtureRequest) -> None:
    drawn: Drawn = request.getfixturevalue(name)
    genuine = drawn.of("")
    known = novelty.fit(drawn.images, genuine[::2], genuine[1::2], 0.01)
    jokes = np.isin(drawn.defects, ["repeated_image", "repeated_mask", "off_distribution"])
    assert jokes.sum() > 10
    assert known.distances(drawn.images[jokes]).min() > 5
    assert (known.distances(drawn.images[genuine]) > 1).mean() < 0.03


def test_jokes_are_repeated_under_all_labels_and_under_one(blood: Drawn) -> None:
    rows = blood.of("repeated_image")
    jokes, kind = np.unique(blood.images[rows].reshape(len(rows), -1), axis=0, return_inverse=True)
    assert len(jokes) == 2
    planted = blood.recipe["planted"]
    spread, single = sorted((blood.targets[rows[kind == number]] for number in range(2)), key=len, reverse=True)
    assert (len(spread), len(single)) == (planted["repeated_image"], planted["repeated_image_one_label"])
    assert len(set(spread.tolist())) == 8
    assert set(single.tolist()) == {5}


def test_few_genuine_cells_lie_on_a_bluish_slide(blood: Drawn) -> None:
    border = np.median(blood.images[blood.defects == ""][:, :4].astype(float), axis=(1, 2))
    bluish = border[:, 2] > border[:, 0]
    assert 0.02 < bluish.mean() < 0.1


def test_aliens_share_one_mask_with_one_genuine_view(mars: Drawn) -> None:
    rows = mars.of("repeated_mask")
    shared = mars.targets[rows[0]]
    assert len(np.unique(shared)) >= 3
    assert (mars.targets[rows] == shared).all()
    same = np.flatnonzero((mars.targets == shared).all(axis=(1, 2)))
    assert [mars.defects[row] for row in set(same) - set(rows)] == [""]
    # The alien's head is the same in all images, the ground beside it is not.
    assert (mars.images[rows, 12, 64] == mars.images[rows[0], 12, 64]).all()
    assert len(np.unique(mars.images[rows][:, :, :30], axis=0)) == len(rows)


def test_constant_masks_are_identical_and_genuine(mars: Drawn) -> None:
    constant = (mars.targets == mars.targets[:, :1, :1]).all(axis=(1, 2)) & (mars.defects == "")
    labels = Counter(mars.targets[constant, 0, 0].tolist())
    declared = mars.recipe["constant"]
    assert all(labels[k] >= declared[name] for k, name in ((0, "background"), (1, "soil"), (2, "bedrock")))


def test_neighbours_of_a_drive_look_alike(mars: Drawn) -> None:
    pairs = [pair for pair in np.argwhere(np.triu(mars.distances <= 12, 1)) if not mars.defects[pair].any()]
    assert sum(mars.difference(first)[second] < 12 for first, second in pairs) >= 10


def test_classes_of_cells_differ_but_not_by_colour_alone(blood: Drawn) -> None:
    genuine = blood.defects == ""
    images, labels = blood.images[genuine].astype(np.float64), blood.targets[genuine]
    middle = images[:, 38:58, 38:58]
    parts = (images.mean(axis=(1, 2)), images.std(axis=(1, 2)), middle.mean(axis=(1, 2)), middle.std(axis=(1, 2)))
    features = np.concatenate(parts, axis=1)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    half = np.arange(len(labels)) % 2 == 0
    centroids = np.stack([features[half & (labels == k)].mean(axis=0) for k in range(8)])
    nearest = np.linalg.norm(features[~half, None] - centroids, axis=2).argmin(axis=1)
    accuracy = (nearest == labels[~half]).mean()
    assert 0.5 < accuracy < 0.9  # real cells: 0.68


def test_terrains_differ_in_texture(mars: Drawn) -> None:
    genuine = mars.defects == ""
    images, masks = mars.images[genuine][..., 0].astype(np.float64), mars.targets[genuine]
    steps = np.abs(np.diff(images, axis=2)) / images.mean(axis=(1, 2))[:, None, None]
    soil, bedrock, sand = (steps[(masks[:, :, 1:] == k) & (masks[:, :, :-1] == k)].mean() for k in (1, 2, 3))
    assert bedrock > 1.3 * soil > 1.3 * sand


def unlabelled() -> NDArray[np.uint8]:
    """Return the Mars pictures without masks, drawn from the recipe in the working directory."""
    settings = params.load()
    return np.concatenate(list(sample.unlabelled(tasks.make("mars", settings), settings.experiment.sources["mars"])))


def test_pictures_without_masks_are_others_of_the_same_kind(mars: Drawn) -> None:
    images = unlabelled()
    assert images.shape == (mars.recipe["unlabelled"], *mars.images.shape[1:])
    assert images.dtype == np.uint8
    known = {image.tobytes() for image in mars.images}
    assert len({image.tobytes() for image in images} - known) == len(images)
    genuine = mars.images[mars.defects == ""].mean(axis=(1, 2, 3))
    assert ((images.mean(axis=(1, 2, 3)) > genuine.min()) & (images.mean(axis=(1, 2, 3)) < genuine.max())).all()


def test_the_number_of_pictures_without_masks_changes_nothing_else(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample, "_BATCH", 6)
    before = first_batch("mars")
    rewrite("mars_sample.yaml", unlabelled=3)
    after = first_batch("mars")
    assert (after.images.tobytes(), after.masks.tobytes()) == (before.images.tobytes(), before.masks.tobytes())
    assert len(unlabelled()) == 3
    assert unlabelled().tobytes() == unlabelled().tobytes()


def first_batch(task: str) -> Any:
    settings = params.load()
    return next(sample.read(tasks.make(task, settings), settings.experiment.sources[task]))


def rewrite(file: str, **changes: Any) -> None:
    yaml, path = YAML(), Path("data/sources") / file
    recipe = yaml.load(path)
    recipe.update(changes)
    yaml.dump(recipe, path)


@pytest.mark.parametrize("task", ["blood", "mars"])
def test_the_seed_decides_on_every_byte(project: Path, monkeypatch: pytest.MonkeyPatch, task: str) -> None:
    monkeypatch.setattr(sample, "_BATCH", 6)
    first, second = first_batch(task), first_batch(task)
    assert first.images.tobytes() == second.images.tobytes()
    assert first.defects == second.defects
    rewrite(f"{task}_sample.yaml", seed=12345)
    assert first_batch(task).images.tobytes() != first.images.tobytes()


@pytest.mark.parametrize("task", ["blood", "mars"])
def test_a_picture_does_not_depend_on_the_batch_it_is_in(
    project: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    monkeypatch.setattr(sample, "_BATCH", 6)
    larger = first_batch(task).images
    monkeypatch.setattr(sample, "_BATCH", 4)
    assert np.array_equal(first_batch(task).images, larger[:4])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"sead": 1}, "blood_sample.yaml: 'sead' is unknown; did you mean 'seed'"),
        ({"bluish": 2}, "blood_sample.yaml: 'bluish' is 2"),
        ({"cells": {"basofil": 3}}, "blood_sample.yaml: 'cells.basofil' is unknown; did you mean 'basophil'"),
        ({"cells": {"basophil": 3}}, "blood_sample.yaml: 'cells' lacks eosinophil, "),
        ({"cells": 3}, "blood_sample.yaml: 'cells' is 3"),
        ({"planted": {}}, "blood_sample.yaml: 'planted.exact_duplicate' is missing"),
    ],
)
def test_a_wrong_recipe_is_refused(project: Path, changes: dict[str, Any], expected: str) -> None:
    rewrite("blood_sample.yaml", **changes)
    with pytest.raises(InputError, match=expected) as error:
        first_batch("blood")
    assert "\n" not in str(error.value)


def test_more_copies_than_cells_are_refused(project: Path) -> None:
    recipe = params.read_yaml(Path("data/sources/mars_sample.yaml"))
    rewrite("mars_sample.yaml", planted={**recipe["planted"], "near_duplicate": 1000})
    with pytest.raises(InputError, match=r"mars_sample.yaml: 'planted' asks for more copies"):
        first_batch("mars")


def test_a_missing_recipe_is_refused(project: Path, edit: Edit) -> None:
    edit("sources.blood.path", "data/sources/blod.yaml")
    with pytest.raises(InputError, match=r"data/sources/blod.yaml is missing: 'sources.blood.path'"):
        first_batch("blood")


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("tasks.mars.height", 128, "height, width and channels"),
        ("tasks.mars.classes", ["background", "soil", "rock"], "the classes"),
    ],
)
def test_a_declaration_that_is_not_drawn_is_refused(
    project: Path, edit: Edit, path: str, value: Any, expected: str
) -> None:
    edit(path, value)
    with pytest.raises(InputError, match=rf"{expected} in 'tasks.mars' are .*; declare these or choose another"):
        first_batch("mars")
