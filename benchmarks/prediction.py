"""Measure how much more time a prediction takes than the bare network, on the same batches.

python -m benchmarks.prediction blood [--batches 1 16 64] [--rounds 5]

Runs the task's champion, in turns with Keras' own `predict_on_batch` and as `terracyte predict` and `serve` do: the
network, calibrated probabilities, and whether the image is unlike the training images. Times are processor time.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from terracyte.core import paths
from terracyte.core.errors import guarded
from terracyte.promote.champion import MODEL

_IMAGES = 256  # per turn, in at least three batches


def main() -> None:
    """Measure, and print what was found as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", help="name of a task in params.yaml")
    parser.add_argument("--model", type=Path, help="folder of the champion (data/TASK/champion)")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64], help="images at a time (1 16 64)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side, of which the fastest counts (5)")
    arguments = parser.parse_args()
    folder = arguments.model or paths.champion(arguments.task)
    from terracyte.predict import predictor

    ours = predictor.read(folder)
    from terracyte.models.serialization import read_model

    bare = read_model(folder / MODEL)
    print("| task | batch | Keras, ms per image | ours, ms per image | ratio |\n| --- | --- | --- | --- | --- |")
    for size in arguments.batches:
        images = np.random.default_rng(0).integers(0, 256, (size, *ours.task.image_shape), np.uint8)
        sides: list[Callable[[], object]] = [
            lambda images=images: bare.predict_on_batch(images.astype(np.float32)),  # type: ignore[misc]
            lambda images=images: ours.predict(images),  # type: ignore[misc]
        ]
        keras, whole = _fastest(sides, max(3, _IMAGES // size), arguments.rounds)
        per_image = 1000 / size
        print(
            f"| {arguments.task} | {size} | {keras * per_image:.2f} | {whole * per_image:.2f} | {whole / keras:.2f} |",
            flush=True,
        )


def _fastest(sides: list[Callable[[], object]], calls: int, rounds: int) -> list[float]:
    """Return the seconds per call of each side in its fastest round; the sides take turns."""
    for side in sides:
        side()
    turns = [[_seconds(side, calls) for side in sides] for _ in range(rounds)]
    return [min(column) for column in zip(*turns, strict=True)]


def _seconds(side: Callable[[], object], calls: int) -> float:
    start = time.process_time()
    for _ in range(calls):
        side()
    return (time.process_time() - start) / calls


if __name__ == "__main__":
    guarded(main)
