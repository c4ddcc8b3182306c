"""Show how far differences between rows depend on one group of test images, and on how their seeds are drawn.

python -m benchmarks.influence mars [--experiment real]

Reads only files that git holds. The table shows each difference as in the ablation table; its interval if seeds are
drawn independently for both rows, not in pairs; and its value, interval and p without the group that shows most of the
class that the test split shows least of.
"""

import argparse
import os
from pathlib import Path

import numpy as np

from terracyte import params, tasks
from terracyte.core.errors import guarded
from terracyte.evaluate import scores
from terracyte.metrics import resampling
from terracyte.metrics.confusion import Counts, Scores
from terracyte.params import Evaluate
from terracyte.rendering import formats
from terracyte.report import records
from terracyte.tasks.task import Task

_HEAD = "| row | to | difference | seeds on their own | p | without the group | p |"


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("--experiment", type=Path, default=Path("real"), help="folder of the rows (real)")
    arguments = parser.parse_args()
    os.chdir(arguments.experiment)
    settings = params.load()
    task = tasks.make(arguments.task, settings)
    gathered = records.gather(task, settings)
    counts = {record.name: record.confusions for record in gathered}
    label, group = rarest(task, gathered[0].confusions)
    shown = gathered[0].confusions[0, :, label].sum(axis=-1)
    print(
        f"One of {len(shown)} groups holds {formats.percent(shown[group] / shown.sum())} % of what the test split "
        f"shows of {task.classes[label]}; {np.count_nonzero(shown)} hold some.\n\n{_HEAD}\n|{' --- |' * 7}"
    )
    for record in gathered:
        if other := record.compared_with:
            cells = _cells(task, counts[record.name], counts[other], group, settings.evaluate)
            print(f"| {' | '.join([record.name, other, *cells])} |")


def rarest(task: Task, counts: Counts) -> tuple[int, int]:
    """Return the scored class that the test split shows least of, and the group that shows most of that class.

    Args:
        task: the task of the row.
        counts: confusion matrices (seeds, groups, k, k) of any row.
    """
    true = counts[0].sum(axis=-1)  # (groups, k)
    label = min(task.scored_classes, key=lambda k: int(true[:, k].sum()))
    return label, int(true[:, label].argmax())


def drawn_alone(task: Task, one: Counts, other: Counts, settings: Evaluate) -> tuple[float, float]:
    """Return the interval of a difference: both rows share the drawn groups, each row's seeds are drawn independently.

    Args:
        task: the task whose headline score is compared.
        one, other: confusion matrices (seeds, groups, k, k) of the rows; the numbers of seeds may differ.
        settings: parameters of the resampling.
    """
    random, groups = np.random.default_rng(settings.seed), one.shape[1]
    drawn = random.multinomial(groups, np.full(groups, 1 / groups), settings.bootstrap)

    def mean(counts: Counts) -> Scores:
        seeds = len(counts)
        weights = random.multinomial(seeds, np.full(seeds, 1 / seeds), settings.bootstrap) / seeds
        of_seeds = [task.headline_scores(np.tensordot(drawn, each, axes=1)) for each in counts]
        return np.asarray((np.stack(of_seeds, axis=1) * weights).sum(axis=1))

    return resampling.interval(mean(one) - mean(other), settings.confidence)


def _cells(task: Task, one: Counts, other: Counts, group: int, settings: Evaluate) -> list[str]:
    low, high = drawn_alone(task, one, other, settings)
    difference, p = compared(task, one, other, settings)
    without = compared(task, np.delete(one, group, axis=1), np.delete(other, group, axis=1), settings)
    return [difference, f"{formats.points(low)} to {formats.points(high)}", p, *without]


def compared(task: Task, one: Counts, other: Counts, settings: Evaluate) -> tuple[str, str]:
    """Return the difference of two rows with its interval, and its p value, as the ablation table shows them.

    Args:
        task: the task whose headline score is compared.
        one, other: confusion matrices (seeds, groups, k, k) of the rows.
        settings: parameters of the resampling.
    """
    ours, theirs = (float(task.headline_scores(counts.sum(axis=1)).mean()) for counts in (one, other))
    low, high = scores.difference(task, one, other, settings)
    p = scores.p_value(task, one, other, settings)
    return formats.difference(ours - theirs, low, high), formats.p_value(p)


if __name__ == "__main__":
    guarded(main)
