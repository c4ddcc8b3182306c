"""Scores of averaged logits, over all choices of seeds."""

from collections import Counter

import numpy as np
import pytest

from benchmarks import averaging
from terracyte import tasks
from terracyte.params import TaskSpec

TARGETS = np.array([0, 0, 1, 1])


def network(*margins: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return logits (1, 4, 2) of one copy of the images; a positive margin means the second class."""
    margin = np.array(margins, np.float32)
    return np.stack([-margin, margin], axis=-1)[None]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"one": 1}, (1.0 + 0.5) / 2),  # one of the two networks is right, the other calls all images the second class
        ({"one": 2}, 0.5),  # the wrong one is the surer
        ({"other": 1}, 0.0),
        ({"one": 1, "other": 1}, (1.0 + 0.5) / 2),  # the other row is unsure: it overrules nobody
    ],
)
def test_all_choices_of_seeds_count_alike(counts: dict[str, int], expected: float) -> None:
    task = tasks.of("letters", TaskSpec(kind="classification", classes=("a", "b"), height=32, width=32, channels=3))
    logits = {
        "one": [network(-1, -1, 1, 1), network(3, 3, 3, 3)],
        "other": [network(0.1, 0.1, -0.1, -0.1)],
    }
    assert averaging.average(task, TARGETS, logits, Counter(counts)).tolist() == [expected]
