"""Which variant is the best: validation decides, the test split only reports."""

from collections.abc import Mapping
from typing import Any, TypeVar

from terracyte.core.errors import InputError
from terracyte.tasks.task import Task

_Seed = TypeVar("_Seed")


def best_variant(task: Task, training: Mapping[str, Mapping[_Seed, Mapping[str, Any]]]) -> str:
    """The variant with the highest mean score over its seeds; the first of equals.

    Args:
        task: its `selection` names the score.
        training: by variant and seed, what `paths.training` holds.

    Raises:
        InputError: there is no variant.
    """
    if not training:
        raise InputError(f"params.yaml: 'variants' has none of task {task.name}; declare at least one")
    return max(training, key=lambda variant: mean_score(task, training[variant]))


def mean_score(task: Task, runs: Mapping[_Seed, Mapping[str, Any]]) -> float:
    """Mean validation score of a variant's seeds, 0-1."""
    return sum(_score(task, run) for run in runs.values()) / len(runs)


def _score(task: Task, run: Mapping[str, Any]) -> float:
    return float(run[f"val_{task.selection}"])
