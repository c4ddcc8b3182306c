"""The best variant, from made-up validation scores."""

from typing import Any

import pytest

from terracyte import params, tasks
from terracyte.core.errors import InputError
from terracyte.evaluate import ranking
from terracyte.tasks.task import Task
from tests.conftest import ROOT, TASKS

Runs = dict[int, dict[str, Any]]


@pytest.fixture(params=TASKS)
def task(request: pytest.FixtureRequest) -> Task:
    return tasks.make(request.param, params.load(ROOT))


def runs(task: Task, *scores: float) -> Runs:
    """Return one run per seed with its score, and with another score that ranks the runs the other way round."""
    return {seed: {f"val_{task.selection}": score, "val_other": 1 - score} for seed, score in enumerate(scores)}


def test_the_mean_over_the_seeds_decides_on_the_variant(task: Task) -> None:
    training = {"even": runs(task, 0.8, 0.8), "lucky": runs(task, 0.9, 0.6), "poor": runs(task, 0.1, 0.2)}
    assert ranking.best_variant(task, training) == "even"
    assert ranking.mean_score(task, training["lucky"]) == pytest.approx(0.75)


def test_the_first_of_equals_is_taken(task: Task) -> None:
    assert ranking.best_variant(task, {"one": runs(task, 0.5), "two": runs(task, 0.5)}) == "one"


def test_a_task_without_variants_is_refused(task: Task) -> None:
    with pytest.raises(InputError, match=f"'variants' has none of task {task.name}"):
        ranking.best_variant(task, {})
