"""terracyte predict: predict the classes or masks of images with a task's champion."""

import argparse
import sys
from pathlib import Path

from terracyte.core.arguments import add_experiment, add_model, of_task

HELP = "predict images: write a table, and for segmentation also colour overlays"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("task", help="name of a task in params.yaml")
    parser.add_argument("input", type=Path, help="folder of pictures, picture, .npz or .npy")
    add_experiment(parser)
    parser.add_argument(
        "--output", type=Path, required=True, help="a .csv file, or a new folder (for segmentation, with overlays)"
    )
    add_model(parser)
    parser.add_argument("--batch", type=_positive, default=64, help="images per step (64); does not change the results")
    parser.add_argument("--resize", action="store_true", help="scale images of other sizes instead of refusing them")
    parser.add_argument("--skip-unreadable", action="store_true", help="skip unreadable pictures and list them")


def run(arguments: argparse.Namespace) -> None:
    """Predict the input's images and write the results.

    Raises:
        InputError: there is no champion, or the input or output cannot be used; then nothing is written.
    """
    # Imported here: `--help` needs none of it.
    from tqdm import tqdm

    from terracyte.ingest.sources.listing import shown
    from terracyte.predict import inputs, origin, outputs, predictor

    experiment = of_task(arguments.experiment, arguments.task)
    folder = origin.champion_of(arguments.task, experiment, arguments.model, arguments.sha256)
    model = predictor.read(folder, arguments.task)
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
        for batch in found.batches:
            predictions = model.predict(batch.images, batch.regions)
            writer.write(batch.names, batch.images, predictions)
            predicted += len(batch.names)
            unfamiliar += int(predictions.unfamiliar.sum())
            bar.update(len(batch.names))
    for reason in found.unreadable:
        print(f"skipped: {reason}", file=sys.stderr)
    if found.left_out:
        count, why = len(found.left_out), "not pictures, or overlays of an earlier prediction"
        print(f"note: {count} files left out ({why}): {shown(found.left_out)}", file=sys.stderr)
    print(f"{arguments.output}: {predicted} images, {unfamiliar} of them unlike the training images")


def _positive(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= 4096):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 4096")
    return int(text)
