"""terracyte predict: classes or masks of images, by a task's champion."""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from terracyte import params
from terracyte.core import paths
from terracyte.ingest.sources.listing import shown
from terracyte.predict import inputs, outputs, predictor

HELP = "predict images: a table, and for mars colour overlays"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("task", choices=params.TASKS)
    parser.add_argument("input", type=Path, help="folder of pictures, picture, .npz or .npy")
    parser.add_argument("--output", type=Path, required=True, help="a .csv, or a new folder (with overlays for mars)")
    parser.add_argument("--model", type=Path, help="folder of the champion (data/TASK/champion)")
    parser.add_argument("--batch", type=_positive, default=64, help="images per step (64); no result depends on it")
    parser.add_argument("--resize", action="store_true", help="scale pictures of other sizes instead of refusing them")
    parser.add_argument("--skip-unreadable", action="store_true", help="pass over damaged pictures and list them")


def run(arguments: argparse.Namespace) -> None:
    """Predict.

    Raises:
        InputError: there is no champion, or the input or output cannot be used; nothing is written then.
    """
    model = predictor.read(arguments.model or paths.champion(arguments.task), arguments.task)
    found = inputs.read(
        model.task,
        arguments.input,
        arguments.batch,
        resize=arguments.resize,
        skip_unreadable=arguments.skip_unreadable,
    )
    predicted = unfamiliar = 0
    with (
        outputs.opened(model, arguments.output) as writer,
        tqdm(total=found.total, desc="predicting", unit="image", disable=None) as bar,
    ):
        for names, images in found.batches:
            predictions = model.predict(images)
            writer.write(names, images, predictions)
            predicted += len(names)
            unfamiliar += int(predictions.unfamiliar.sum())
            bar.update(len(names))
    for reason in found.unreadable:
        print(f"skipped: {reason}", file=sys.stderr)
    if found.left_out:
        print(f"note: {len(found.left_out)} files that are no pictures: {shown(found.left_out)}", file=sys.stderr)
    print(f"{arguments.output}: {predicted} images, {unfamiliar} of them unlike the training images")


def _positive(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 4096:
        raise argparse.ArgumentTypeError(f"{value}: it must be 1 to 4096")
    return value
