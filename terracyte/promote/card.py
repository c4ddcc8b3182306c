"""The model card of a champion, as Markdown (Mitchell et al. 2019, arXiv 1810.03993)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from terracyte.configure import initialisation
from terracyte.core import files, paths
from terracyte.evaluate import scores as evaluation
from terracyte.evaluate.predictions import Kept
from terracyte.metrics import confusion, resampling
from terracyte.params import Params
from terracyte.promote import checks, wording
from terracyte.rendering import formats
from terracyte.tasks.task import Task

SAMPLE = "sample"  # the source of drawn images
_FEW = 500  # test images, below which the card warns


def card(
    task: Task,
    about: Mapping[str, Any],
    scores: Mapping[str, Any],
    intervals: Mapping[str, tuple[float, float]],
) -> str:
    """The card's text; the same champion on the same data gives the same text.

    Args:
        task: whose.
        about: what `champion.json` holds.
        scores: see `evaluation.summarise`.
        intervals: see `class_intervals`.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("card.md.j2").render(
        task=task,
        named=[task.classes[label] for label in task.scored_classes],
        about=about,
        scores=scores,
        intervals=intervals,
        splits=files.read_json(paths.balance(task.name))["splits"],
        fallen_back=about["initialisation"] == initialisation.NOT_TO_BE_HAD,
        drawn=about["source"] == SAMPLE,
        few=about["images"] < _FEW,
        behaviour=checks.from_record(about["behaviour"]),
        sentence=wording.sentence,
        formats=formats,
    )


def class_intervals(
    task: Task, rows: pd.DataFrame, kept: Sequence[Kept], settings: Params
) -> dict[str, tuple[float, float]]:
    """By name of each scored class, the interval of its headline, over groups of test images and seeds.

    Args:
        task: whose.
        rows: the test split.
        kept: predictions of the rows, one per seed.
        settings: of the resampling.
    """
    counts, drawing = evaluation.confusions(task, rows, kept), settings.evaluate

    def interval(label: int) -> tuple[float, float]:
        def score(drawn: confusion.Counts) -> confusion.Scores:
            return task.class_scores(drawn)[task.class_headline][..., label]

        scores = resampling.bootstrap(counts, score, drawing.bootstrap, drawing.seed)
        return resampling.interval(scores, drawing.confidence)

    return {task.classes[label]: interval(label) for label in task.scored_classes}
