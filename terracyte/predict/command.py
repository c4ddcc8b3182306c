"""terracyte predict: predict the classes or masks of images with a task's champion."""

import argparse
from pathlib import Path

from terracyte.core.arguments import OF_TASK, add_batch, add_experiment, add_model, of_task

HELP = "predict images: write a table, and for segmentation also masks and overlays"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("task", help="name of a task in params.yaml")
    parser.add_argument("input", type=Path, help="folder of pictures, picture, .npz or .npy")
    add_experiment(parser, OF_TASK)
    parser.add_argument(
        "--output", type=Path, required=True, help="a .csv file, or a new folder (for segmentation, with masks)"
    )
    add_model(parser)
    add_batch(parser)
    parser.add_argument("--resize", action="store_true", help="scale images of other sizes instead of refusing them")
    parser.add_argument("--skip-unreadable", action="store_true", help="skip unreadable pictures and list them")


def run(arguments: argparse.Namespace) -> None:
    """Predict the input's images and write the results.

    Raises:
        InputError: there is no champion, or the input or output cannot be used; then nothing is written.
    """
    # Imported here: `--help` needs none of it.
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
    with outputs.opened(model, arguments.output) as writer:
        for batch in inputs.progressing(found, "predicting"):
            predictions = model.predict(batch.images, batch.regions)
            writer.write(batch.names, batch.images, predictions)
            predicted += len(batch.names)
            unfamiliar += int(predictions.unfamiliar.sum())
    inputs.tell_omitted(found)
    print(f"{arguments.output}: {predicted} images, {unfamiliar} of them unlike the training images")
