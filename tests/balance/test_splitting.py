import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from stages import balance as stage
from terracyte import params
from terracyte.balance import class_weights
from terracyte.balance import given as given_split
from terracyte.balance.balancing import balance, describe, summarise
from terracyte.balance.split import assign, assign_folds, group
from terracyte.core import files, paths
from terracyte.core.errors import InputError
from terracyte.core.splits import SPLITS
from tests.conftest import Edit
from tests.pictures import BLOOD, MARS, Images, blood_manifest, mars_manifest, random_masks, textures

SETTINGS = params.Balance(
    validation=0.2,
    test=0.1,
    seed=0,
    group_bits=11,
    group_correlation=0.75,
    weight_power=0.5,
    weight_cap=10,
    rare_class="c",
    rare_repeats=3,
)


def labelled(labels: list[int]) -> pd.DataFrame:
    """Return a manifest of different images with these labels, without pixels."""
    numbers = np.arange(len(labels))
    contents = [f"{number:064x}" for number in numbers]
    return pd.DataFrame({"id": numbers, "label": labels, "content_hash": contents, "declared_group": ""})


def cleaned(manifest: pd.DataFrame) -> pd.DataFrame:
    return manifest.assign(keep=True, reason="", duplicate_of=-1)


def slides(n: int) -> Images:
    """Return 3 n pictures: n textures, then each shifted by a sixth of its width, then each relit."""
    originals = textures(BLOOD, n)
    return np.concatenate([originals, np.roll(originals, 8, axis=2), (originals * 0.9 + 10).astype(np.uint8)])


def test_alike_images_share_a_group() -> None:
    images = slides(4)
    groups = group(images, blood_manifest(images, [0] * 12), SETTINGS)
    assert groups.tolist() == [0, 1, 2, 3] * 3


def test_declared_groups_and_copies_join_what_looks_different() -> None:
    images = textures(BLOOD, 8)
    manifest = blood_manifest(images, [0] * 8)
    manifest["declared_group"] = ["", "site 1", "", "site 2", "site 1", "", "site 2", ""]
    manifest["content_hash"] = manifest["content_hash"].take([0, 1, 2, 3, 4, 5, 6, 6]).to_numpy()
    assert group(images, manifest, SETTINGS).tolist() == [0, 1, 2, 3, 1, 4, 3, 3]


def shares(splits: NDArray[np.str_]) -> dict[str, int]:
    return {name: int((splits == name).sum()) for name in SPLITS}


def test_each_class_keeps_its_share_in_each_split() -> None:
    labels = [0] * 500 + [1] * 100 + [2] * 10
    splits = assign(BLOOD, labelled(labels), np.arange(610), SETTINGS)
    assert shares(splits[:500]) == {"train": 350, "validation": 100, "test": 50}
    assert shares(splits[500:600]) == {"train": 70, "validation": 20, "test": 10}
    assert shares(splits[600:]) == {"train": 7, "validation": 2, "test": 1}


def test_groups_stay_whole_and_classes_still_keep_their_shares() -> None:
    random = np.random.default_rng(0)
    groups = np.sort(random.integers(0, 150, 1000))
    groups = np.unique(groups, return_inverse=True)[1]
    manifest = labelled(random.choice(3, 1000, p=[0.6, 0.3, 0.1]).tolist())
    splits = assign(BLOOD, manifest, groups, SETTINGS)
    assert (pd.Series(splits).groupby(groups).nunique() == 1).all()
    table = pd.crosstab(splits, manifest["label"], normalize="columns").loc[list(SPLITS)]
    assert np.abs(table.to_numpy() - [[0.7], [0.2], [0.1]]).max() < 0.02


def test_pixels_of_rare_classes_keep_their_shares() -> None:
    random = np.random.default_rng(0)
    counts = (random.dirichlet([2, 2, 0.05], 600) * 2048).astype(np.int64)
    manifest = labelled([0] * 600).assign(**{f"pixels_{k}": counts[:, k] for k in range(3)})
    splits = assign(MARS, manifest, np.arange(600), dataclasses.replace(SETTINGS, rare_class=None))
    found = np.stack([counts[splits == name].sum(axis=0) for name in SPLITS]) / counts.sum(axis=0)
    assert np.abs(found - [[0.7], [0.2], [0.1]]).max() < 0.01


def test_splits_follow_contents_and_seed_not_the_order_of_rows() -> None:
    manifest = labelled([0, 0, 1, 2] * 50)
    splits = assign(BLOOD, manifest, np.arange(200), SETTINGS)
    order = np.random.default_rng(0).permutation(200)
    shuffled = assign(BLOOD, manifest.iloc[order], np.arange(200), SETTINGS)
    assert shuffled.tolist() == splits[order].tolist()
    reseeded = assign(BLOOD, manifest, np.arange(200), dataclasses.replace(SETTINGS, seed=1))
    assert shares(reseeded) == shares(splits)
    assert reseeded.tolist() != splits.tolist()


@pytest.mark.parametrize(
    ("labels", "groups", "changes", "message"),
    [
        ([0] * 40 + [1] * 40 + [2] * 2, range(82), {}, "'c' has only 2 images in 2 groups: add images"),
        (
            [0] * 40 + [1] * 40 + [2] * 20,
            [*range(80), *[80] * 20],
            {},
            "'c' has only 20 images in 1 groups: add images",
        ),
        ([0, 1, 2] * 20, range(60), {"validation": 0.4, "test": 0.3}, "add up to 0.7"),
        ([0, 1, 2] * 20, [*[0] * 51, *range(1, 10)], {}, "60 kept images in groups of up to 51 cannot be split"),
        ([0, 2, 0, 1, 0, 1, 2, 2, 1], [5, 2, 3, 1, 0, 3, 3, 4, 2], {}, "validation split would hold no 'c'"),
    ],
)
def test_what_cannot_be_split_is_refused(
    labels: list[int], groups: list[int], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        assign(BLOOD, labelled(labels), np.array(groups), dataclasses.replace(SETTINGS, **changes))


def test_a_rare_class_can_be_merged_by_a_key_of_its_task() -> None:
    with pytest.raises(InputError, match=r"merge such a class with another \('sources\.blood\.class_of'"):
        assign(BLOOD, labelled([0, 1, 2, 2]), np.arange(4), SETTINGS)
    manifest = labelled([0] * 9).assign(pixels_0=9, pixels_1=9, pixels_2=[1, 1] + [0] * 7)
    with pytest.raises(InputError, match=r"'rock' has only 2 images.*\('sources\.mars\.mask_values'"):
        assign(MARS, manifest, np.arange(9), dataclasses.replace(SETTINGS, rare_class=None))


@pytest.mark.parametrize("count", range(4, 13))
@pytest.mark.parametrize("seed", range(3))
def test_a_few_images_of_each_class_are_split_as_whole_numbers_allow(count: int, seed: int) -> None:
    manifest = labelled([0, 1, 2] * count)
    settings = dataclasses.replace(SETTINGS, validation=0.15, test=0.15, seed=seed)
    table = pd.crosstab(manifest["label"], assign(BLOOD, manifest, np.arange(3 * count), settings))
    assert table.to_numpy().min() >= 1
    assert (table[["validation", "test"]] - 0.15 * count).abs().to_numpy().max() < 1


@pytest.mark.parametrize(
    ("power", "cap", "expected"),
    [
        (0.0, 10.0, [1, 1, 1]),
        (1.0, 10.0, [3 / 13, 12 / 13, 24 / 13]),
        (0.5, 10.0, [3 / (3 + 6 + 72**0.5), 6 / (3 + 6 + 72**0.5), 72**0.5 / (3 + 6 + 72**0.5)]),
        (1.0, 2.0, [0.6, 1.2, 1.2]),
    ],
)
def test_class_weights_in_closed_form(power: float, cap: float, expected: list[float]) -> None:
    found = class_weights.class_weights(BLOOD, labelled([0] * 80 + [1] * 20 + [2] * 10), power, cap)
    expected_mean_one = np.array(expected) / np.mean(expected)
    assert found == pytest.approx(expected_mean_one)
    assert found.mean() == pytest.approx(1)


def test_background_has_no_weight() -> None:
    pixels = pd.DataFrame({"pixels_0": [1000], "pixels_1": [900], "pixels_2": [100]})
    assert class_weights.class_weights(MARS, pixels, power=1, cap=100) == pytest.approx([0, 0.2, 1.8])


def test_sampling_weights_show_each_class_equally_often() -> None:
    manifest = labelled([0] * 80 + [1] * 20 + [2] * 10)
    found = class_weights.sampling_weights(BLOOD, manifest, cap=100)
    assert found.mean() == pytest.approx(1)
    assert pd.Series(found).groupby(manifest["label"]).sum().tolist() == pytest.approx([110 / 3] * 3)


def test_sampling_weights_of_masks_average_over_labelled_pixels() -> None:
    pixels = pd.DataFrame({"pixels_0": [0, 500, 1000], "pixels_1": [900, 400, 0], "pixels_2": [0, 100, 0]})
    found = class_weights.sampling_weights(MARS, pixels, cap=100)
    rarity = np.array([1 / 1300, 1 / 100])
    expected = np.array([rarity[0], 0.8 * rarity[0] + 0.2 * rarity[1], 0])
    assert found == pytest.approx(expected / expected.mean())


def test_images_with_the_rare_class_are_repeated() -> None:
    assert class_weights.repeats(BLOOD, labelled([0, 2, 1, 2]), SETTINGS).tolist() == [1, 3, 1, 3]
    none = dataclasses.replace(SETTINGS, rare_class=None)
    assert class_weights.repeats(BLOOD, labelled([0, 2, 1, 2]), none).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("name", ["d", "C", "background"])
def test_an_unknown_rare_class_is_refused(name: str) -> None:
    task = MARS if name == "background" else BLOOD
    with pytest.raises(InputError, match=rf"balance\.{task.name}\.rare_class' is '{name}'"):
        class_weights.repeats(task, labelled([0]), dataclasses.replace(SETTINGS, rare_class=name))


def balanced_slides() -> pd.DataFrame:
    images = slides(40)
    table = cleaned(blood_manifest(images, [0, 0, 1, 2] * 30))
    table["keep"] = ~table["id"].isin([5, 17])
    return balance(BLOOD, images, table, SETTINGS)


def test_no_content_and_no_group_is_in_two_splits() -> None:
    table = balanced_slides()
    assert sorted(set(range(120)) - set(table["id"])) == [5, 17]
    assert table["group"].nunique() == 40
    for column in ("content_hash", "group"):
        assert (table.groupby(column)["split"].nunique() == 1).all()


def test_folds_share_out_whole_groups_of_all_but_test_and_every_class_alike() -> None:
    labels = [0] * 500 + [1] * 100 + [2] * 30
    table = labelled(labels * 2)
    groups = np.tile(np.arange(630), 2)
    settings = dataclasses.replace(SETTINGS, folds=5)
    folds = assign_folds(BLOOD, table, groups, settings)
    assert (pd.Series(folds).groupby(groups).nunique() == 1).all()
    for label, images in ((0, 200), (1, 40), (2, 12)):
        assert np.bincount(folds[table["label"] == label]).tolist() == [images] * 5
    shuffled = table.sample(frac=1, random_state=0)
    assert (assign_folds(BLOOD, shuffled, groups[shuffled.index], settings) == folds[shuffled.index]).all()


def test_test_has_no_fold_and_without_folds_nothing_has() -> None:
    images = slides(40)
    table = balance(BLOOD, images, cleaned(blood_manifest(images, [0, 0, 1, 2] * 30)), SETTINGS)
    assert (table["fold"] == -1).all()
    settings = dataclasses.replace(SETTINGS, folds=3)
    again = balance(BLOOD, images, cleaned(blood_manifest(images, [0, 0, 1, 2] * 30)), settings)
    pd.testing.assert_frame_equal(again.drop(columns="fold"), table.drop(columns="fold"))
    assert ((again["fold"] == -1) == (again["split"] == "test")).all()
    assert set(again["fold"]) == {-1, 0, 1, 2}


def test_too_many_folds_are_refused() -> None:
    settings = dataclasses.replace(SETTINGS, folds=4)
    with pytest.raises(
        InputError, match=r"of 4 folds.*'c' has only 3 images in 3 groups: lower 'balance\.blood\.folds'"
    ):
        assign_folds(BLOOD, labelled([0] * 9 + [1] * 9 + [2] * 3), np.arange(21), settings)
    with pytest.raises(InputError, match="folds' is 1"):
        dataclasses.replace(SETTINGS, folds=1)


def test_no_weight_concerns_a_test_row() -> None:
    table = balanced_slides()
    test = table["split"] == "test"
    for split in ("train", "validation"):
        assert table.loc[table["split"] == split, "sample_weight"].mean() == pytest.approx(1, abs=1e-5)
    assert (table.loc[test, ["sample_weight", "repeats"]] == 1).all(axis=None)
    assert (table.loc[~test, "repeats"] == np.where(table.loc[~test, "label"] == 2, 3, 1)).all()
    assert not {"keep", "reason", "duplicate_of"} & set(table)


def test_summary_counts_what_is_there() -> None:
    table = balanced_slides()
    summary = summarise(BLOOD, table, table, SETTINGS)
    assert sum(split["images"] for split in summary["splits"].values()) == 118
    assert sum(split["groups"] for split in summary["splits"].values()) == 40
    assert [sum(split["classes"][name] for split in summary["splits"].values()) for name in "abc"] == [58, 30, 30]
    assert summary["groups"] == {"images_in_groups": 118, "largest": 3}
    assert describe(summary).splitlines()[1].split()[:3] == ["train", str(summary["splits"]["train"]["images"]), "28"]


@pytest.fixture
def cleaned_mars(project: Path, edit: Edit) -> Path:
    """A project that declares a small Mars task and holds 60 cleaned pictures of it."""
    values = {"tasks.mars.classes": list(MARS.classes), "tasks.mars.height": 32, "tasks.mars.width": 64}
    for key, value in (values | {"balance.mars.rare_class": "rock"}).items():
        edit(key, value)
    images, masks = textures(MARS, 60), random_masks(60)
    paths.raw("mars").mkdir(parents=True)
    np.save(paths.images("mars"), images)
    files.write_table(paths.clean_manifest("mars"), cleaned(mars_manifest(images, masks)))
    return project


def test_stage_writes_splits_and_weights_the_same_way_twice(
    cleaned_mars: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["balance", "mars"])
    written = []
    for _ in range(2):
        stage.main()
        written.append((paths.balance_manifest("mars").read_bytes(), paths.balance("mars").read_bytes()))
    assert written[0] == written[1]
    assert files.read_json(paths.balance("mars"))["class_weights"][0] == 0


def given(splits: list[str], labels: list[int] | None = None) -> pd.DataFrame:
    """Return a manifest of different images with declared splits; by default the classes take turns."""
    turn = [number % 3 for number in range(len(splits))]
    return labelled(turn if labels is None else labels).assign(declared_split=splits)


def assigned(rows: pd.DataFrame, groups: NDArray[np.int64] | None = None) -> list[str]:
    found = np.arange(len(rows)) if groups is None else groups
    splits: list[str] = given_split.assign(BLOOD, rows, found, SETTINGS).tolist()
    return splits


def test_a_given_split_is_kept_as_it_is_whatever_its_shares() -> None:
    splits = ["train"] * 6 + ["validation"] * 3 + ["test"] * 30
    assert assigned(given(splits)) == splits


def test_a_group_in_several_splits_moves_to_the_most_protected_one() -> None:
    splits = ["train"] * 12 + ["validation"] * 6 + ["test"] * 3
    groups = np.arange(21)
    groups[[0, 1, 20]] = 0  # train, train, test
    groups[[2, 12]] = 2  # train, validation
    groups[[13, 19]] = 13  # validation, test
    groups[[3, 4]] = 3  # train twice: stays
    expected = list(splits)
    for place, split in {0: "test", 1: "test", 2: "validation", 13: "test"}.items():
        expected[place] = split
    assert assigned(given(splits), np.unique(groups, return_inverse=True)[1]) == expected


@pytest.mark.parametrize(
    ("splits", "cut", "share"), [(("train", "test"), "validation", 0.2), (("train", "validation"), "test", 0.1)]
)
def test_a_split_that_is_not_given_is_cut_from_train(splits: tuple[str, str], cut: str, share: float) -> None:
    rows = given([splits[0]] * 300 + [splits[1]] * 30)
    found = assigned(rows)
    assert found[300:] == [splits[1]] * 30
    assert found[:300].count(cut) == share * 300
    assert found[:300].count("train") == (1 - share) * 300
    cut_labels = rows["label"][np.array(found) == cut]
    assert cut_labels.value_counts().tolist() == [share * 100] * 3


def test_train_alone_is_split_as_if_nothing_was_given() -> None:
    rows = given(["train"] * 300)
    assert assigned(rows) == assign(BLOOD, rows, np.arange(300), SETTINGS).tolist()


@pytest.mark.parametrize(
    ("splits", "labels", "groups", "message"),
    [
        (["test"] * 6 + ["validation"] * 6, None, None, "the given train split holds no 'a' .add images"),
        (["train"] * 3 + ["validation"] * 3 + ["test"] * 2, None, None, "the given test split holds no 'c'"),
        (
            ["train"] * 3 + ["validation"] * 3 + ["test"] * 3,
            None,
            [0, 1, 2, 3, 4, 5, 6, 7, 2],
            "the given train split holds no 'c' .its 1 images share a group with ones in a more protected split",
        ),
        (
            ["train"] * 6 + ["test"] * 3,
            None,
            [0, 0, 1, 1, 2, 3, 0, 1, 4],
            "4 of 6 images given for train share a group with ones given for validation or test",
        ),
        (["train"] * 3 + ["test"] * 3, None, None, "each of 2 splits needs a group of images of every class"),
    ],
)
def test_a_given_split_that_cannot_be_kept_is_refused(
    splits: list[str], labels: list[int] | None, groups: list[int] | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        assigned(given(splits, labels), None if groups is None else np.array(groups))


def given_slides() -> pd.DataFrame:
    """Return `slides(40)`: of the first 20, picture and copies are given to three splits; of the rest, to one."""
    images = slides(40)
    table = cleaned(blood_manifest(images, [0, 0, 1, 2] * 30))
    table["declared_split"] = ["train"] * 40 + ["validation"] * 40 + ["test"] * 40
    table.loc[table["id"] % 40 >= 20, "declared_split"] = "train"
    table.loc[table["id"] % 40 >= 30, "declared_split"] = "validation"
    return table


def test_no_group_is_in_two_splits_where_a_split_is_given_that_leaks() -> None:
    table = given_slides()
    table.loc[[7, 8], ["keep", "duplicate_of"]] = [[False, 87], [False, 48]]  # copies of a test and a validation image
    found = balance(BLOOD, slides(40), table, SETTINGS)
    assert found["group"].nunique() == 40
    for column in ("content_hash", "group"):
        assert (found.groupby(column)["split"].nunique() == 1).all()
    assert (found["split"].iloc[np.flatnonzero(found["declared_split"] == "test")] == "test").all()
    summary = summarise(BLOOD, table, found, SETTINGS)
    assert summary["given"] == {
        "leaking_groups": 20,
        "moved": {"train_to_test": 18, "validation_to_test": 20},
        "cut_from_train": {},
        "copies_dropped": 2,
    }
    assert [split["images"] for split in summary["splits"].values()] == [30, 30, 58]
    assert describe(summary).splitlines()[-2:] == [
        "given split: 20 groups, declared or of similar images, were in several splits; each was moved to the most "
        "protected one: 18 train to test, 20 validation to test",
        "given split: cleaning dropped 2 copies of images in another split",
    ]


def test_what_is_cut_from_train_is_counted_and_is_no_leak() -> None:
    table = cleaned(blood_manifest(textures(BLOOD, 90), [0, 1, 2] * 30)).assign(declared_split="train")
    table.loc[table["id"] < 15, "declared_split"] = "test"
    found = balance(BLOOD, textures(BLOOD, 90), table, SETTINGS)
    summary = summarise(BLOOD, table, found, SETTINGS)
    cut = summary["splits"]["validation"]["images"]
    assert cut == 15
    assert summary["given"] == {
        "leaking_groups": 0, "moved": {}, "cut_from_train": {"validation": cut}, "copies_dropped": 0
    }  # fmt: skip
    assert "there is no validation, so 15 images were cut from train" in describe(summary)


def test_a_given_split_may_be_passed_over() -> None:
    table, own = given_slides(), dataclasses.replace(SETTINGS, split="own")
    found = balance(BLOOD, slides(40), table, own)
    without = balance(BLOOD, slides(40), table.drop(columns="declared_split"), SETTINGS)
    assert found["split"].tolist() == without["split"].tolist()
    assert "given" not in summarise(BLOOD, table, found, own)


@pytest.mark.parametrize(
    ("power", "cap", "expected"),
    [(0.5, 10, [0.6, 1.2, 1.2]), (1.0, 10, [1 / 3, 4 / 3, 4 / 3]), (1.0, 2, [0.6, 1.2, 1.2])],
)
def test_class_weights_are_those_of_the_training_rows(power: float, cap: float, expected: list[float]) -> None:
    split = ["train"] * 12 + ["validation"] * 6 + ["test"] * 6
    table = labelled([0] * 8 + [1, 1, 2, 2] + [0, 1, 2, 2, 2, 2] * 2).assign(split=split, group=np.arange(24))
    settings = dataclasses.replace(SETTINGS, weight_power=power, weight_cap=cap)
    assert summarise(BLOOD, table, table, settings)["class_weights"] == pytest.approx(expected, abs=1e-6)


def test_each_row_has_the_weight_of_its_own_content() -> None:
    table = balanced_slides()
    for split in ("train", "validation"):
        rows = table[table["split"] == split]
        expected = class_weights.sampling_weights(BLOOD, rows, SETTINGS.weight_cap)
        assert rows["sample_weight"].to_numpy() == pytest.approx(expected, abs=1e-6)
        assert rows.groupby("label")["sample_weight"].nunique().tolist() == [1, 1, 1]
        assert rows["sample_weight"].nunique() > 1


def test_the_stratum_of_a_mask_is_its_rarest_class() -> None:
    pixels = pd.DataFrame({"pixels_0": [9, 0, 9, 9], "pixels_1": [5, 8, 5, 0], "pixels_2": [0, 0, 1, 0]})
    assert MARS.strata(pixels).tolist() == [1, 1, 2, 0]


def test_weights_of_images_are_capped_as_those_of_classes_are() -> None:
    manifest = labelled([0] * 80 + [1] * 20 + [2] * 10)
    found = pd.Series(class_weights.sampling_weights(BLOOD, manifest, cap=2)).groupby(manifest["label"]).first()
    assert (found / found[0]).tolist() == pytest.approx([1, 2, 2])
    images = slides(40)
    table = cleaned(blood_manifest(images, [0, 0, 1, 2] * 30))
    rows = balance(BLOOD, images, table, dataclasses.replace(SETTINGS, weight_cap=1.5))
    weights = rows[rows["split"] == "train"].groupby("label")["sample_weight"].first()
    assert (weights / weights[0]).tolist() == pytest.approx([1, 1.5, 1.5], abs=1e-5)


def test_an_image_alone_is_in_no_group() -> None:
    splits = ["train"] * 4 + ["validation", "test"]
    table = labelled([0, 1, 2, 0, 1, 2]).assign(split=splits, group=[0, 0, 1, 2, 3, 4])
    assert summarise(BLOOD, table, table, SETTINGS)["groups"] == {"images_in_groups": 2, "largest": 2}


@pytest.mark.parametrize(("validation", "test"), [(0.3, 0.3), (0.4, 0.2)])
def test_six_tenths_may_be_held_out(validation: float, test: float) -> None:
    settings = dataclasses.replace(SETTINGS, validation=validation, test=test)
    splits = assign(BLOOD, labelled([0, 1, 2] * 20), np.arange(60), settings)
    assert shares(splits) == {"train": 24, "validation": 60 * validation, "test": 60 * test}


@pytest.mark.parametrize("seed", range(3))
def test_images_that_show_little_of_a_rare_class_keep_their_shares(seed: int) -> None:
    """A single pixel hardly counts among a class's pixels: it is the stratum that tells such an image from others."""
    rock, soil = np.repeat([1000, 1, 0], 100), np.random.default_rng(seed).integers(300, 1000, 300)
    manifest = labelled([0] * 300).assign(pixels_0=2048 - soil - rock, pixels_1=soil, pixels_2=rock)
    splits = assign(MARS, manifest, np.arange(300), dataclasses.replace(SETTINGS, rare_class=None, seed=seed))
    found = shares(splits[rock > 0])
    assert np.abs(np.array([found[name] for name in SPLITS]) - [140, 40, 20]).max() <= 2


def test_whole_groups_are_cut_from_train() -> None:
    rows = given(["train"] * 300 + ["test"] * 30)
    groups = np.append(np.arange(300) // 2, 150 + np.arange(30))
    found = pd.Series(assigned(rows, groups))
    assert set(found[:300]) == {"train", "validation"}
    assert (found.groupby(groups).nunique() == 1).all()


def test_folds_of_a_balanced_table_hold_whole_groups() -> None:
    images = slides(40)
    settings = dataclasses.replace(SETTINGS, folds=3)
    table = balance(BLOOD, images, cleaned(blood_manifest(images, [0, 0, 1, 2] * 30)), settings)
    assert (table.groupby("group")["fold"].nunique() == 1).all()


def test_copies_dropped_within_a_split_are_no_leak() -> None:
    table = cleaned(given(["train"] * 3 + ["test"] * 3))
    table.loc[[1, 4], ["keep", "duplicate_of"]] = [[False, 0], [False, 3]]
    kept = table[table["keep"]]
    rest = kept.assign(split=kept["declared_split"], group=range(4))
    assert given_split.summarise(table, rest)["copies_dropped"] == 0


def test_a_test_split_alone_is_refused_for_want_of_train() -> None:
    with pytest.raises(InputError, match=r"the given train split holds no 'a' \(add images"):
        assigned(given(["test"] * 6))
