"""terracyte drift: do incoming images still look like those that the models were trained on?

Exit code 0: no drift found; 3: drift; 2: bad input.
"""

import argparse
import sys
from pathlib import Path

from terracyte.core import paths
from terracyte.core.arguments import OF_TASK, add_batch, add_experiment, add_model, of_task
from terracyte.core.errors import InputError

HELP = "compare incoming images with the training images; exit code 3 if they differ"

DRIFT = 3  # exit code; crashes (1) and bad input (2) have others


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("task", help="name of a task in params.yaml")
    parser.add_argument("input", type=Path, help="folder of pictures, picture, .npz or .npy")
    add_experiment(parser, OF_TASK)
    parser.add_argument("--output", type=Path, help="folder for page and summary (FOLDER/data/drift/TASK)")
    add_model(parser)
    add_batch(parser)
    parser.add_argument("--skip-unreadable", action="store_true", help="skip unreadable pictures and list them")


def run(arguments: argparse.Namespace) -> None:
    """Compare the images, write page and summary, and exit with the code `DRIFT` if there is drift.

    Raises:
        InputError: the input, the manifest or the champion cannot be used; then nothing is written.
    """
    # Imported here: `--help` needs none of it.
    from terracyte import params, tasks
    from terracyte.core import files
    from terracyte.drift import report
    from terracyte.drift.examination import examine
    from terracyte.predict import inputs, origin, predictor

    experiment = of_task(arguments.experiment, arguments.task)
    settings = params.load(experiment)
    task = tasks.make(arguments.task, settings)
    folder = arguments.model or experiment / paths.champion(task.name)
    there = folder.exists() and any(folder.iterdir())  # `promote` leaves an empty folder if no row is champion
    champion = None
    if there or arguments.model is not None or arguments.sha256 is not None:
        origin.champion_of(task.name, experiment, arguments.model, arguments.sha256)
        champion = predictor.read(folder, task.name)
    if champion is not None and champion.task.image_shape != task.image_shape:
        theirs, ours = ("x".join(map(str, each.image_shape)) for each in (champion.task, task))
        raise InputError(
            f"the champion in {folder} is for images of {theirs} (height x width x channels), but {task.name}'s are "
            f"{ours} now: run `dvc repro promote@{task.name}`{paths.inside(experiment)}, or name another champion with "
            "--model"
        )
    output = arguments.output or experiment / paths.DATA / "drift" / task.name
    if (output / "index.html").exists() and not (output / "summary.json").exists():
        raise InputError(f"{output / 'index.html'} was not written by drift: name another folder with --output")
    batch, skip = arguments.batch, arguments.skip_unreadable
    found = inputs.read(task, arguments.input, batch, resize=True, skip_unreadable=skip)
    batches = ((each.names, each.images) for each in inputs.progressing(found, "comparing"))
    outcome = examine(task, batches, champion, settings.drift, experiment)
    inputs.tell_omitted(found)
    with files.atomic(output / "index.html") as page:  # both files, or neither if the disk is full
        page.write_text(report.page(outcome), encoding="utf-8")
        files.write_json(output / "summary.json", report.summary(outcome))
    print(f"{outcome.verdict} Page: {output / 'index.html'}")
    if outcome.drifted:
        sys.exit(DRIFT)
