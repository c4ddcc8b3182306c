"""terracyte repro: run an experiment's outdated stages, as `dvc repro` does, but several rows or seeds at a time.

DVC removes the outputs of a stage before it runs the stage: after a failure or Ctrl-C the previous ones are restored.
"""

import argparse
from pathlib import Path

from terracyte.core.arguments import add_experiment

HELP = "run an experiment's outdated stages, several rows or seeds at a time"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("targets", nargs="*", help="stages, such as evaluate@blood-cnn (all)")
    add_experiment(parser)
    parser.add_argument(
        "--workers", type=_workers, default="auto", help="rows at a time, or seeds if rows are few (auto: one per core)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Check the experiment, then run it.

    Raises:
        InputError: the experiment's files are malformed, or a stage failed.
    """
    # Imported here: `--help` needs none of it.
    from terracyte.core import cores
    from terracyte.repro.stages import reproduce

    workers = cores.available() if arguments.workers == "auto" else arguments.workers
    reproduce(arguments.experiment or Path(), workers, arguments.targets)


def _workers(text: str) -> int | str:
    if text == "auto":
        return text
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is neither auto nor a whole number from 1")
    return int(text)
