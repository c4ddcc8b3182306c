"""terracyte drift: do incoming images still look like those that the models were trained on?

Exit code 0: no drift found; 1: drift; 2: bad input.
"""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from terracyte import params, tasks
from terracyte.core import files, paths
from terracyte.drift import measurement, report
from terracyte.drift.comparison import compare
from terracyte.drift.measurement import Batch
from terracyte.drift.report import Report
from terracyte.params import Drift
from terracyte.predict import inputs, predictor
from terracyte.predict.predictor import Predictor
from terracyte.promote import champion as champion_folder
from terracyte.tasks.task import Task

HELP = "compare incoming images with those of the training; exit code 1 where they differ"

_BATCH = 64


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("task", help="a name of params.yaml: tasks")
    parser.add_argument("input", type=Path, help="folder of pictures, picture, .npz or .npy")
    parser.add_argument("--output", type=Path, help="folder of page and summary (data/drift/TASK)")
    parser.add_argument("--model", type=Path, help="folder of the champion (data/TASK/champion)")
    parser.add_argument("--skip-unreadable", action="store_true", help="pass over damaged pictures")


def run(arguments: argparse.Namespace) -> None:
    """Compare, write page and summary, and exit with 1 where there is a drift.

    Raises:
        InputError: the input, the manifest or the champion cannot be used; nothing is written then.
    """
    settings = params.load()
    task = tasks.make(arguments.task, settings)
    folder = arguments.model or paths.champion(task.name)
    asked = arguments.model is not None or (folder / champion_folder.RECORD).exists()
    champion = predictor.read(folder, task.name) if asked else None
    found = inputs.read(task, arguments.input, _BATCH, resize=True, skip_unreadable=arguments.skip_unreadable)
    outcome = examine(task, found.batches, champion, settings.drift)
    for reason in found.unreadable:
        print(f"skipped: {reason}", file=sys.stderr)
    output = arguments.output or paths.DATA / "drift" / task.name
    files.write_json(output / "summary.json", report.summary(outcome))
    files.write_text(output / "index.html", report.page(outcome))
    print(f"{outcome.verdict} Page: {output / 'index.html'}")
    if outcome.drifted:
        sys.exit(1)


def examine(task: Task, batches: Iterable[Batch], champion: Predictor | None, settings: Drift) -> Report:
    """Hold incoming images against those of the training; the same images give the same report.

    Args:
        task: whose they are.
        batches: names of b images, and the images (b, h, w, c) uint8, 0-255.
        champion: whose opinion counts; None for none.
        settings: when a difference counts.

    Raises:
        InputError: there is no image, or one is unreadable, or no manifest.
    """
    known = measurement.manifest(task, "train")
    measured = measurement.incoming(task, batches, champion, known, settings.examples)
    reference = measurement.training_looks(known)
    opinions = measurement.validation_opinions(task, champion, measured.hashes) if champion else {}
    values = {**measured.looks, **measured.opinions}
    return Report(
        task=task,
        images=len(next(iter(measured.looks.values()))),
        training=len(known),
        validation=len(next(iter(opinions.values()), ())),
        champion=str(champion.record["variant"]) if champion else "",
        findings=compare({**reference, **opinions}, values, settings),
        reference={**reference, **opinions},
        incoming=values,
        strangest=measured.strangest,
        usual=_usual(task, known["id"].to_numpy(np.int64), settings.examples),
    )


def _usual(task: Task, ids: NDArray[np.int64], count: int) -> list[tuple[str, NDArray[np.uint8]]]:
    """Training images, spread evenly."""
    images = np.load(paths.images(task.name), mmap_mode="r")
    chosen = ids[np.linspace(0, len(ids) - 1, min(count, len(ids))).astype(np.int64)]
    return [(f"image {place}", np.asarray(images[place])) for place in chosen.tolist()]


def main() -> None:
    """`python -m terracyte.drift`: the same without the installed command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    configure(parser)
    run(parser.parse_args())
