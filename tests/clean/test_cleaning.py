import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages import clean
from terracyte import params
from terracyte.clean.decide import REASONS, decide, describe, summarise
from terracyte.clean.rules import Raw
from terracyte.core import files, paths
from terracyte.core.errors import InputError
from tests.conftest import Edit
from tests.pictures import BLOOD, MARS, Images, blood_manifest, mars_manifest, random_masks, textures

SETTINGS = params.Clean(
    repeated_image=5,
    repeated_labels=3,
    near_duplicate_bits=11,
    near_duplicate_correlation=0.9,
    near_duplicate_mask=0.99,
    repeated_mask=6,
    distance=0.5,
)


def clean_blood(images: Images, labels: list[int], settings: params.Clean = SETTINGS) -> pd.DataFrame:
    return decide(Raw(BLOOD, images), blood_manifest(images, labels), settings)


def clean_mars(images: Images, masks: Images, settings: params.Clean = SETTINGS) -> pd.DataFrame:
    return decide(Raw(MARS, images, masks), mars_manifest(images, masks), settings)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        # labels of the copies of one picture, and the reason to drop each copy
        ([0], [""]),
        ([0, 0], ["", "exact_duplicate"]),
        ([0, 0, 0, 0], [""] + 3 * ["exact_duplicate"]),
        ([0, 1], 2 * ["conflicting_duplicate"]),
        ([0, 0, 1], 3 * ["conflicting_duplicate"]),
        ([0, 1, 2], 3 * ["repeated_image"]),
        ([0, 0, 0, 0, 0], 5 * ["repeated_image"]),
    ],
)
def test_copies_truth_table(labels: list[int], expected: list[str]) -> None:
    images = textures(BLOOD, 5)
    table = clean_blood(np.concatenate([images[:4], np.repeat(images[4:], len(labels), axis=0)]), [0, 0, 1, 2, *labels])
    assert table["reason"].tolist() == ["", "", "", "", *expected]
    assert (table["keep"] == (table["reason"] == "")).all()
    exact = table[table["reason"] == "exact_duplicate"]
    assert (exact["duplicate_of"] == 4).all()
    assert (table.drop(exact.index)["duplicate_of"] == -1).all()


@pytest.mark.parametrize(
    ("change", "label", "reason"),
    [
        ("noise", 1, "near_duplicate"),
        ("relit", 1, "near_duplicate"),
        ("moved a little", 1, "near_duplicate"),
        ("moved far", 1, ""),
        ("noise", 2, ""),
        ("other", 1, ""),
    ],
)
def test_near_duplicates_truth_table(change: str, label: int, reason: str) -> None:
    images = textures(BLOOD, 6).astype(np.float64)
    changed = {
        "noise": images[3] + np.random.default_rng(0).normal(0, 3, images[3].shape),
        "relit": images[3] * 0.9 + 15,
        "moved a little": np.roll(images[3], 2, axis=1),
        "moved far": np.roll(images[3], 12, axis=1),
        "other": images[5][::-1],
    }
    copies = np.concatenate([images, changed[change][None]]).clip(0, 255).astype(np.uint8)
    table = clean_blood(copies, [0, 1, 2, 1, 0, 1, label])
    assert table["reason"].tolist() == [*6 * [""], reason]
    assert table["duplicate_of"].iloc[-1] == (3 if reason else -1)


@pytest.mark.parametrize(("rows_that_differ", "reason"), [(0, "near_duplicate"), (1, "")])
def test_like_frames_stay_if_their_masks_differ(rows_that_differ: int, reason: str) -> None:
    images, masks = textures(MARS, 6), random_masks(6)
    frame = (images[2] + np.random.default_rng(0).normal(0, 2, images[2].shape)).clip(0, 255).astype(np.uint8)
    mask = masks[2].copy()
    mask[:rows_that_differ] = (mask[:rows_that_differ] + 1) % 3
    table = clean_mars(np.concatenate([images, frame[None]]), np.concatenate([masks, mask[None]]))
    assert table["reason"].tolist() == [*6 * [""], reason]


def paste(images: Images) -> Images:
    """Paste a bright object over a thirteenth of each picture."""
    pasted = images.copy()
    pasted[:, 8:24, 20:30] = 230
    return pasted


def test_members_of_a_repeated_mask_go_only_if_they_show_what_was_pasted() -> None:
    pictures, masks = textures(MARS, 30), random_masks(30)
    masks[:10], masks[10:20] = masks[0], masks[10]  # two groups with a mask each: objects are pasted into the first
    pictures[:9] = paste(pictures[:9])
    table = clean_mars(pictures, masks)
    assert table["reason"].tolist() == 9 * ["repeated_mask"] + 21 * [""]


def test_a_rarely_repeated_mask_is_not_suspicious() -> None:
    pictures, masks = paste(textures(MARS, 12)), random_masks(12)
    masks[:5] = masks[0]
    assert clean_mars(pictures, masks, dataclasses.replace(SETTINGS, distance=1))["keep"].all()


def test_a_constant_mask_is_never_suspicious() -> None:
    pictures, masks = textures(MARS, 20), random_masks(20)
    masks[:10], pictures[:10] = 1, paste(pictures[:10])
    assert clean_mars(pictures, masks)["keep"].all()


@pytest.mark.parametrize("odd", ["black", "white", "red", "static"])
def test_odd_pictures_go_and_a_rare_stain_stays(odd: str) -> None:
    images = textures(BLOOD, 40)
    images[30:] = images[30:] // 2 + np.array([0, 20, 60], np.uint8)  # ten pictures of another stain
    oddities = {
        "black": np.zeros((48, 48, 3)),
        "white": np.full((48, 48, 3), 255),
        "red": np.broadcast_to([230, 10, 10], (48, 48, 3)),
        "static": np.random.default_rng(0).integers(0, 256, (48, 48, 3)),
    }
    images[7] = oddities[odd]
    table = clean_blood(images, [0] * 40)
    assert table.loc[table["reason"] != "", "reason"].to_dict() == {7: "off_distribution"}


def test_decisions_do_not_depend_on_the_order_of_rows() -> None:
    images = textures(BLOOD, 30)
    images[[5, 6, 20]], images[[9, 11]] = images[0], images[1]
    images[26] = (images[2] * 0.9 + 10).astype(np.uint8)
    images[13] = 255
    manifest = blood_manifest(images, [0, 1] * 15)
    straight = decide(Raw(BLOOD, images), manifest, SETTINGS)
    order = np.random.default_rng(0).permutation(30)
    shuffled = decide(Raw(BLOOD, images), manifest.iloc[order].reset_index(drop=True), SETTINGS)
    assert set(straight["reason"]) == {
        "",
        "conflicting_duplicate",
        "exact_duplicate",
        "off_distribution",
        "near_duplicate",
    }
    assert shuffled["id"].tolist() == order.tolist()
    pd.testing.assert_frame_equal(straight, shuffled.sort_values("id", ignore_index=True))


def test_a_set_of_nothing_but_defects_is_dropped_as_a_whole() -> None:
    table = clean_blood(np.repeat(textures(BLOOD, 1), 6, axis=0), [0] * 6)
    assert table["reason"].tolist() == ["repeated_image"] * 6


def decided(*rows: tuple[str, int]) -> pd.DataFrame:
    """Return the decisions on rows 0, 1, … from their (reason, duplicate_of)."""
    reasons, twins = zip(*rows, strict=True)
    return pd.DataFrame(
        {"id": range(len(rows)), "keep": [r == "" for r in reasons], "reason": reasons, "duplicate_of": twins}
    )


def planted(*defects: str) -> pd.DataFrame:
    return pd.DataFrame({"id": range(len(defects)), "defect": defects})


def test_counts_without_truth() -> None:
    summary = summarise(decided(("", -1), ("near_duplicate", 0), ("off_distribution", -1)))
    assert summary["kept"] == 1
    assert summary["dropped"] == {reason: int(reason in ("near_duplicate", "off_distribution")) for reason in REASONS}
    assert set(summary) == {"kept", "dropped"}


def test_scores_in_closed_form() -> None:
    table = decided(("off_distribution", -1), ("off_distribution", -1), ("", -1), ("", -1), ("off_distribution", -1))
    summary = summarise(table, planted("off_distribution", "", "off_distribution", "", "off_distribution"))
    assert summary["defects"] == {"off_distribution": {"planted": 3, "precision": 0.666667, "recall": 0.666667}}
    assert summary["genuine_lost"] == 1


@pytest.mark.parametrize("copy", [0, 1])
def test_either_of_a_pair_may_be_the_planted_one(copy: int) -> None:
    defects = ["", ""]
    defects[copy] = "near_duplicate"
    summary = summarise(decided(("", -1), ("near_duplicate", 0)), planted(*defects))
    assert summary["defects"]["near_duplicate"] == {"planted": 1, "precision": 1.0, "recall": 1.0}
    assert summary["genuine_lost"] == 0


def test_table_names_each_reason() -> None:
    text = describe(summarise(decided(("exact_duplicate", 1), ("", -1)), planted("exact_duplicate", "")))
    words = {line.split()[0]: line.split()[1:] for line in text.splitlines()}
    assert set(REASONS) < set(words)
    assert words["exact_duplicate"] == ["1", "planted", "1,", "precision", "1.000,", "recall", "1.000"]


@pytest.fixture
def raw_blood(project: Path, edit: Edit) -> Path:
    """A project that declares a small blood task and holds 40 raw pictures of it, two of them equal."""
    for key, value in {"classes": list(BLOOD.classes), "height": 48, "width": 48}.items():
        edit(f"tasks.blood.{key}", value)
    images = textures(BLOOD, 40)
    images[39] = images[0]
    paths.raw("blood").mkdir(parents=True)
    np.save(paths.images("blood"), images)
    files.write_table(paths.raw_manifest("blood"), blood_manifest(images, [0, 1, 2, 0] * 10))
    return project


def test_stage_writes_decisions_and_counts(raw_blood: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["clean", "blood"])
    clean.main()
    written = pd.read_parquet(paths.clean_manifest("blood"))
    assert written.loc[~written["keep"], "reason"].to_dict() == {39: "exact_duplicate"}
    assert files.read_json(paths.cleaning("blood"))["kept"] == 39
    assert paths.validation_cleaned("blood").exists()


@pytest.mark.parametrize("path", [paths.raw_manifest, paths.images])
def test_stage_names_a_damaged_file(
    path: Callable[[str], Path], raw_blood: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path("blood").write_bytes(path("blood").read_bytes()[:100])
    monkeypatch.setattr(sys, "argv", ["clean", "blood"])
    with pytest.raises(InputError, match=rf"{path('blood')} is damaged .*: delete it and run `dvc repro`"):
        clean.main()


def test_stage_keeps_the_decisions_if_a_class_is_cleaned_away(raw_blood: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = pd.read_parquet(paths.raw_manifest("blood")).assign(label=0)
    manifest.loc[[0, 39], "label"] = [1, 2]  # two copies of one picture are all that two classes have
    files.write_table(paths.raw_manifest("blood"), manifest)
    monkeypatch.setattr(sys, "argv", ["clean", "blood"])
    told = r"cleaning drops every image of 2 classes \('b': 1 by conflicting_duplicate; 'c': 1 by conflicting_dup"
    with pytest.raises(InputError, match=told):
        clean.main()
    assert not paths.clean_manifest("blood").exists()
    assert not paths.cleaning("blood").exists()
    decisions = pd.read_csv("data/blood/clean_refused.csv")
    assert decisions.loc[~decisions["keep"], "name"].tolist() == manifest["name"].iloc[[0, 39]].tolist()


def test_the_copy_of_an_odd_picture_stays() -> None:
    """Near duplicates go last: the copy that they keep is dropped by no other rule."""
    images = textures(BLOOD, 40)
    images[7] = images[20] // 2 + np.array([120, 0, 0], np.uint8)
    table = clean_blood(images, [0] * 40)
    assert table.loc[table["reason"] != "", "reason"].to_dict() == {7: "off_distribution"}


def test_a_view_moved_by_an_eighth_is_another_sample() -> None:
    images = textures(BLOOD, 6)
    moved = np.concatenate([images, np.roll(images[3:4], 6, axis=2)])
    assert clean_blood(moved, [0, 1, 2, 1, 0, 1, 1])["keep"].all()


def test_the_lowest_id_of_near_duplicates_stays_whatever_the_order_of_rows() -> None:
    images = textures(BLOOD, 12)
    images[9] = (images[2] * 0.9 + 10).astype(np.uint8)
    manifest = blood_manifest(images, [0] * 12)
    table = decide(Raw(BLOOD, images), manifest.iloc[::-1].reset_index(drop=True), SETTINGS)
    assert table.loc[~table["keep"], ["id", "duplicate_of"]].to_numpy().tolist() == [[9, 2]]


@pytest.mark.parametrize(("repeats", "dropped"), [(5, 0), (6, 6)])
def test_a_mask_is_suspicious_from_as_many_repeats_on_as_declared(repeats: int, dropped: int) -> None:
    """The object stands out from all images, of which the suspicious ones are few."""
    pictures, masks = textures(MARS, 30), random_masks(30)
    masks[:repeats], pictures[:repeats] = masks[0], paste(pictures[:repeats])
    table = clean_mars(pictures, masks, dataclasses.replace(SETTINGS, distance=1))
    assert table["reason"].tolist() == dropped * ["repeated_mask"] + (30 - dropped) * [""]


def test_a_picture_that_shows_a_part_of_the_object_stays() -> None:
    pictures, masks = textures(MARS, 30), random_masks(30)
    masks[:10], pictures[:9] = masks[0], paste(pictures[:9])
    pictures[9, 8:24, 20:23] = 230  # of ten columns
    table = clean_mars(pictures, masks)
    assert table["reason"].tolist() == 9 * ["repeated_mask"] + 21 * [""]


@pytest.mark.parametrize(("alike", "reason"), [(3, "off_distribution"), (4, "")])
def test_up_to_three_odd_pictures_that_are_alike_go(alike: int, reason: str) -> None:
    images = textures(BLOOD, 40)
    images[:alike] = images[:alike] // 2 + np.array([120, 0, 0], np.uint8)
    table = clean_blood(images, [0] * 40)
    assert table["reason"].tolist() == alike * [reason] + (40 - alike) * [""]


def test_one_picture_under_two_masks_is_dropped() -> None:
    images, masks = textures(MARS, 6), random_masks(6)
    images[5] = images[1]
    table = clean_mars(images, masks)
    assert table["reason"].tolist() == ["", "conflicting_duplicate", "", "", "", "conflicting_duplicate"]


def test_the_table_of_refused_decisions_goes_once_they_are_sound(
    raw_blood: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths.refused_cleaning("blood").write_text("old", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["clean", "blood"])
    clean.main()
    assert not paths.refused_cleaning("blood").exists()
