"""Score averaged logits of several rows' networks on validation, to choose the members of a fused row.

python -m benchmarks.averaging ROW ... [--experiment real] [--most 4]

Each line is a choice of rows, with repetition; its scores are means over all choices of different seeds. The test split
is not used.
"""

import argparse
import itertools
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terracyte import params, tasks
from terracyte.core import paths, quiet
from terracyte.core.errors import InputError, guarded
from terracyte.metrics.confusion import confusion_matrix
from terracyte.params import row
from terracyte.tasks.task import Task

_BATCH = 64  # images per step; no result depends on it


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="+", metavar="ROW", help="of one task")
    parser.add_argument("--experiment", type=Path, default=Path("real"), help="folder of trained rows (real)")
    parser.add_argument("--most", type=int, default=4, help="networks in a choice (4)")
    arguments = parser.parse_args()
    os.chdir(arguments.experiment)
    settings = params.load()
    name = settings.row(arguments.rows[0]).task
    task = tasks.of(name, settings.tasks[name])
    targets, logits = _logits(task, arguments.rows)
    columns = [task.headline, *([task.shift_headline] if task.shift_headline else [])]
    print(f"| averaged logits of | {' | '.join(columns)} |\n|{' --- |' * (1 + len(columns))}")
    for size in range(1, arguments.most + 1):
        for chosen in itertools.combinations_with_replacement(arguments.rows, size):
            counts = Counter(chosen)
            if all(count <= len(logits[name]) for name, count in counts.items()):
                scores = " | ".join(f"{100 * score:.1f}" for score in average(task, targets, logits, counts))
                print(f"| {' + '.join(f'{count} {name}' for name, count in counts.items())} | {scores} |")


def _logits(task: Task, names: list[str]) -> tuple[NDArray[Any], dict[str, list[NDArray[np.float32]]]]:
    """Return the validation targets and, per row and seed, the logits (copies, n, ...) of clean and shifted images."""
    with quiet.importing_keras():
        from terracyte.images.shift import copies
        from terracyte.models.inference import predict
        from terracyte.models.serialization import read_model
        from terracyte.train.batches import read_rows
    rows = read_rows(task, "validation")
    parts = [(rows.images, rows.ids)]
    if task.corruptions:
        parts.append((copies.validation_copy(rows.images, rows.ids, task.corruptions), np.arange(len(rows))))
    logits: dict[str, list[NDArray[np.float32]]] = {}
    for name in names:
        trained = row.read(task.name, name)
        if any(start.config.folds for start in trained.starts):
            raise InputError(f"{name} has folds: its networks were trained on validation images; name rows without")
        networks = [read_model(paths.model(task.name, name, seed)) for seed in trained.seeds]
        logits[name] = [
            np.stack([np.concatenate(list(predict(network, *part, _BATCH))) for part in parts]) for network in networks
        ]
    return rows.targets, logits


def average(
    task: Task, targets: NDArray[Any], logits: dict[str, list[NDArray[np.float32]]], counts: Counter[str]
) -> NDArray[np.float64]:
    """Return (copies,) headline scores in [0, 1]: means over all choices of `counts` seeds of each row."""
    choices = itertools.product(*(itertools.combinations(logits[name], count) for name, count in counts.items()))
    scores = []
    for choice in choices:
        mean = np.mean([network for networks in choice for network in networks], axis=0)
        predicted = [task.predicted(task.decode(copy)) for copy in mean]
        confusions = [confusion_matrix(targets, each, len(task.classes)) for each in predicted]
        scores.append([task.headline_score(confusion) for confusion in confusions])
    means: NDArray[np.float64] = np.mean(scores, axis=0)
    return means


if __name__ == "__main__":
    guarded(main)
