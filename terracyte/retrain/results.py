"""A task's results at a commit or in the working tree: its variants, their scores, and the champion."""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from terracyte import params
from terracyte.core import metric_files, paths
from terracyte.core.errors import InputError
from terracyte.evaluate import ranking
from terracyte.retrain.revision import Read, parsed
from terracyte.tasks.task import Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class Results:
    """A task's results.

    Attributes:
        variants: the experiment's rows of the task, in their order.
        scores: what `terracyte.evaluate.scores.summarise` returns, by variant; without variants that have no scores.
        champion: the promoted variant if it is scored, else the best one by validation; None where nothing is trained.
        promoted: whether the champion was promoted.
    """

    variants: tuple[str, ...]
    scores: Mapping[str, Mapping[str, Any]]
    champion: str | None
    promoted: bool

    def score(self, variant: str, name: str) -> float:
        """Return a score's mean over the seeds; NaN where it is missing or not a number."""
        value = self.scores.get(variant, {}).get("mean", {}).get(name)
        return float(value) if isinstance(value, int | float) else math.nan

    def interval(self, variant: str) -> dict[str, tuple[float, float]]:
        """Return the intervals of the scores that have one, by the scores' names.

        Raises:
            InputError: an interval is not two numbers.
        """
        found = self.scores.get(variant, {}).get("interval", {})
        for name, bounds in found.items():
            two = isinstance(bounds, list) and len(bounds) == 2
            if not two or not all(isinstance(bound, int | float) and math.isfinite(bound) for bound in bounds):
                raise InputError(
                    f"the interval of {variant}'s {name} is {bounds}, not two numbers: evaluate again with `dvc repro`"
                )
        return {name: (bounds[0], bounds[1]) for name, bounds in found.items()}


def gather(task: Task, read: Read) -> Results:
    """Read a task's results; they are empty where the experiment does not exist yet.

    The parameters are not checked: at an older commit they may lack a block, or have one that was removed since.

    Raises:
        InputError: a file is not valid YAML or JSON, or does not have the expected form.
    """
    variants = tuple(name for name, of_task in _rows(read).items() if of_task == task.name)
    found = {name: _details(read, paths.scores(task.name, name)) for name in variants}
    scores = {name: each for name, each in found.items() if each is not None}
    promotion = parsed(read, paths.promotion(task.name))
    promoted = ((promotion or {}).get("champion") or {}).get("variant")
    return Results(
        variants=variants,
        scores=scores,
        champion=promoted if promoted in scores else _best(task, variants, read),
        promoted=promoted in scores,
    )


def task_names(read: Read) -> list[str]:
    """Return the tasks of the experiment's rows, each once, in order."""
    return list(dict.fromkeys(_rows(read).values()))


def _rows(read: Read) -> dict[str, Any]:
    """The task of each row."""
    text = read(paths.EXPERIMENT)
    content = None if text is None else params.parse_yaml(text, paths.EXPERIMENT)
    rows = content.get("rows") if isinstance(content, dict) else None
    return rows if isinstance(rows, dict) else {}


def _best(task: Task, variants: tuple[str, ...], read: Read) -> str | None:
    """The best variant by validation among those that are trained."""
    training = {name: _details(read, paths.training(task.name, name)) for name in variants}
    score = f"val_{task.selection}"  # the base may have selected by another score
    trained = {name: runs for name, runs in training.items() if runs and all(score in run for run in runs.values())}
    return ranking.best_variant(task, trained) if trained else None


def _details(read: Read, path: Path) -> dict[str, Any] | None:
    """Return the details of a metric file; None where the file does not exist."""
    content = parsed(read, path)
    return None if content is None else metric_files.details(content, str(path))
