"""Compare a row with the same one of another experiment whose test images are the same, in the same order.

python -m benchmarks.compare ROW OTHER [--experiment real]

Reads only files that git holds. OTHER is the other experiment's folder. The table shows the mean over the networks,
with its interval, and what their averaged logits score, in all and by class; the difference below it is tested as in
the ablation table.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.influence import compared
from terracyte import params, tasks
from terracyte.core import metric_files, paths
from terracyte.core.errors import InputError, guarded
from terracyte.evaluate import confusions
from terracyte.metrics.confusion import Counts
from terracyte.rendering import formats
from terracyte.report.ablation import scored
from terracyte.tasks.task import Task


def main() -> None:
    """Print the table as Markdown, and the difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row")
    parser.add_argument("other", type=Path)
    parser.add_argument("--experiment", type=Path, default=Path("real"), help="compared with it (real)")
    arguments = parser.parse_args()
    settings = params.load(arguments.experiment)
    task = tasks.make(settings.row(arguments.row).task, settings)
    folders = (arguments.experiment, arguments.other)
    theirs, ours = (confusions.read(folder / paths.confusions(task.name, arguments.row)) for folder in folders)
    require_same_images(ours, theirs)
    print(f"| experiment | | {task.headline} | {' | '.join(scored(task))} |\n|{' --- |' * (3 + len(scored(task)))}")
    for folder in folders:
        for cells in _lines(task, folder / paths.scores(task.name, arguments.row)):
            print(f"| {folder} | {' | '.join(cells)} |")
    difference, p = compared(task, ours, theirs, settings.evaluate)
    print(f"\nDifference of the means: {difference}, p {p}")


def require_same_images(one: Counts, other: Counts) -> None:
    """Refuse rows that were scored on different images.

    Args:
        one, other: confusion matrices (seeds, groups, k, k) of the rows.

    Raises:
        InputError: the groups of images differ in number, or in what they truly show.
    """
    truths = [counts[0].sum(axis=-1) for counts in (one, other)]
    if not np.array_equal(*truths):
        raise InputError("the two rows were scored on different test images, so they cannot be compared")


def _lines(task: Task, path: Path) -> Iterator[list[str]]:
    """Yield the cells of two lines: the mean over the networks, and the networks together."""
    found = metric_files.read(path)
    for name in ("mean", "together"):
        part = found[name]
        score = formats.percent(part[task.headline])
        if name == "mean":
            score = formats.estimate(part[task.headline], *found["interval"][task.headline])
        of_classes = [formats.percent(part["per_class"][each][task.class_headline]) for each in scored(task)]
        yield [name, score, *of_classes]


if __name__ == "__main__":
    guarded(main)
