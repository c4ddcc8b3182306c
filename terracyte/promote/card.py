"""The model card of a champion, as Markdown (Mitchell et al. 2019, arXiv 1810.03993)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from terracyte.core import files, paths
from terracyte.evaluate import confusions
from terracyte.evaluate.predictions import Kept
from terracyte.metrics import confusion, resampling
from terracyte.params import Params
from terracyte.params.row import NOT_TO_BE_HAD
from terracyte.promote import checks, wording
from terracyte.rendering import templates
from terracyte.tasks.task import Task

SAMPLE = "sample"  # the source whose images a generator draws
_FEW = 500  # the card warns if there are fewer test images


def card(
    task: Task,
    about: Mapping[str, Any],
    scores: Mapping[str, Any],
    intervals: Mapping[str, tuple[float, float]],
) -> str:
    """Return the card's text; the same champion on the same data gives the same text.

    Args:
        task: the champion's task.
        about: what `champion.json` holds.
        scores: see `evaluate.scores.summarise`.
        intervals: see `class_intervals`.
    """
    return templates.render(
        Path(__file__).with_name("card.md.j2"),
        task=task,
        named=[task.classes[label] for label in task.scored_classes],
        about=about,
        scores=scores,
        intervals=intervals,
        splits=files.read_json(paths.balance(task.name), {"splits": dict})["splits"],
        fallen_back=NOT_TO_BE_HAD in about["initialisation"],
        drawn=about["source"] == SAMPLE,
        few=about["images"] < _FEW,
        behaviour=checks.from_record(about["behaviour"]),
        sentence=wording.sentence,
    )


def class_intervals(
    task: Task, rows: pd.DataFrame, kept: Sequence[Kept], settings: Params
) -> dict[str, tuple[float, float]]:
    """Return, by name of each scored class, the interval of its headline over groups of test images and seeds.

    Args:
        task: the champion's task.
        rows: the test split.
        kept: predictions of the rows, one entry per seed.
        settings: those of the resampling are used.
    """
    counts, drawing = confusions.confusions(task, rows, kept), settings.evaluate

    def interval(label: int) -> tuple[float, float]:
        def score(drawn: confusion.Counts) -> confusion.Scores:
            scores = task.class_scores(drawn)[task.class_headline][..., label]
            return np.where(drawn[..., label, :].any(axis=-1), scores, np.nan)  # a draw without the class has no score

        scores = resampling.bootstrap(counts, score, drawing.bootstrap, drawing.seed)
        return resampling.interval(scores[~np.isnan(scores)], drawing.confidence)

    return {task.classes[label]: interval(label) for label in task.scored_classes}
