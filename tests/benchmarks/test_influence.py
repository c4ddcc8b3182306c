"""How much a table's differences depend on one group, and on how seeds are drawn."""

import numpy as np

from benchmarks import influence
from terracyte import tasks
from terracyte.params import Evaluate, TaskSpec
from terracyte.tasks.task import Task

SETTINGS = Evaluate(bootstrap=2000, confidence=0.95, seed=0)


def task() -> Task:
    spec = TaskSpec(kind="classification", classes=("a", "b"), height=32, width=32, channels=3)
    return tasks.of("letters", spec)


def test_the_group_that_shows_most_of_the_rarest_class() -> None:
    counts = np.zeros((1, 3, 2, 2), np.int64)
    counts[0, :, 0, 0] = 9
    counts[0, :, 1, 0] = 1, 0, 4
    assert influence.rarest(task(), counts) == (1, 2)


def test_seeds_of_rows_that_are_drawn_on_their_own_vary_on_their_own() -> None:
    """Two rows with the same two networks, one right and one wrong: the mean of two drawn networks is 0, 1/2 or 1."""
    counts = np.zeros((2, 4, 2, 2), np.int64)
    counts[0, :, 0, 0] = counts[1, :, 0, 1] = 1
    assert influence.drawn_alone(task(), counts, counts, SETTINGS) == (-1.0, 1.0)
    assert influence.drawn_alone(task(), counts[:1], counts[:1], SETTINGS) == (0.0, 0.0)
