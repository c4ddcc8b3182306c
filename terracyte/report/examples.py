"""Images that the page shows: test images with their predictions, and what cleaning removed."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terracyte.clean.rules import NO_TWIN
from terracyte.core import files, paths
from terracyte.evaluate.predictions import Kept
from terracyte.rendering.pictures import Picture, painted, photograph
from terracyte.tasks.task import Task


@dataclasses.dataclass(frozen=True)
class Example:
    """A test image and its prediction.

    Attributes:
        pictures: the image; for segmentation also the true and the predicted mask.
        caption: truth and prediction in words; for segmentation, the share of right pixels.
        right: whether the prediction is right; None for segmentation, where it may be right in part.
    """

    pictures: tuple[Picture, ...]
    caption: str
    right: bool | None


@dataclasses.dataclass(frozen=True)
class Sheet:
    """The images that were removed for one reason.

    Attributes:
        reason: as in `clean.parquet`.
        images: number of removed images.
        contents: number of different contents among the removed images.
        pictures: the most frequent contents.
    """

    reason: str
    images: int
    contents: int
    pictures: tuple[Picture, ...]


def samples(task: Task, rows: pd.DataFrame, kept: Kept, count: int) -> list[Example]:
    """Return test images with their predictions, picked from each stratum in turn and sorted by stratum."""
    strata = task.strata(rows)
    turns = pd.Series(strata).groupby(strata).cumcount()
    chosen = np.lexsort((strata, turns))[:count]
    return _examples(task, rows, kept, chosen[np.argsort(strata[chosen], kind="stable")])


def hardest(task: Task, rows: pd.DataFrame, kept: Kept, count: int) -> list[Example]:
    """Return the test images with the worst predictions, worst first."""
    difficulty = task.difficulty(task.targets(rows), kept)
    return _examples(task, rows, kept, np.argsort(-difficulty, kind="stable")[:count])


def sheets(task: Task, cleaned: pd.DataFrame, count: int) -> list[Sheet]:
    """The removed images of each reason, the most frequent reason and the most repeated contents first."""
    removed = cleaned[~cleaned["keep"]]
    images = files.map_array(paths.images(task.name))
    reasons = removed["reason"].value_counts()
    ordered = sorted(reasons.index, key=lambda reason: (-int(reasons[reason]), reason))
    return [_sheet(task, reason, removed[removed["reason"] == reason], images, count) for reason in ordered]


def _sheet(task: Task, reason: str, removed: pd.DataFrame, images: NDArray[np.uint8], count: int) -> Sheet:
    contents = removed.groupby("content_hash").agg(
        first=("id", "min"), times=("id", "size"), twin=("duplicate_of", "first")
    )
    contents = contents.sort_values(["times", "first"], ascending=[False, True])
    pictures = [
        Picture(photograph(images[first]), f"removed {task.name} image {first}", _removed_label(first, times, twin))
        for first, times, twin in contents.head(count).itertuples(index=False)
    ]
    return Sheet(reason, len(removed), len(contents), tuple(pictures))


def _removed_label(first: int, times: int, twin: int) -> str:
    if times > 1:
        return f"{times} times"
    return f"id {first}" if twin == NO_TWIN else f"id {first}, like {twin}"


def _examples(task: Task, rows: pd.DataFrame, kept: Kept, chosen: NDArray[np.int64]) -> list[Example]:
    rows = rows.iloc[chosen]
    images, truth = files.map_array(paths.images(task.name)), task.targets(rows)
    outputs = {name: array[chosen] for name, array in kept.items()}
    predicted = task.predicted(outputs)
    example = _segmented if task.dense else _classified
    return [
        example(
            task, int(row), images[row], truth[i], predicted[i], {name: array[i] for name, array in outputs.items()}
        )
        for i, row in enumerate(rows["id"])
    ]


def _classified(task: Task, row: int, image: NDArray[np.uint8], truth: Any, predicted: Any, kept: Kept) -> Example:
    confidence = float(kept["probabilities"][predicted])
    right = bool(truth == predicted)
    true, guess = task.classes[truth], f"{task.classes[predicted]} ({confidence:.0%})"
    caption = f"{true}: predicted with {confidence:.0%}" if right else f"{true}, predicted as {guess}"
    return Example((Picture(photograph(image), f"test image {row}: {true}"),), caption, right)


def _segmented(task: Task, row: int, image: NDArray[np.uint8], truth: Any, predicted: Any, kept: Kept) -> Example:
    unlabelled = truth == task.background
    right = (truth == predicted)[~unlabelled]
    judged = f"{right.mean():.0%} of the labelled pixels right" if right.size else "no pixel is labelled"
    pictures = (
        Picture(photograph(image), f"test image {row}", "image"),
        Picture(painted(truth), f"its true classes: {_shares(task, truth)}", "truth"),
        Picture(painted(predicted, unlabelled), f"its predicted classes: {_shares(task, predicted)}", "prediction"),
    )
    return Example(pictures, f"id {row}: {judged}", None)


def _shares(task: Task, mask: NDArray[np.uint8]) -> str:
    shares = np.bincount(mask.ravel(), minlength=len(task.classes)) / mask.size
    return ", ".join(f"{share:.0%} {name}" for name, share in zip(task.classes, shares, strict=True) if share > 0)
