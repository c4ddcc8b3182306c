"""terracyte repro: run what is out of date of an experiment, as `dvc repro` does, several rows at a time.

DVC removes what a stage declares before it runs the stage: after a failure or Ctrl-C the previous outputs come back.
"""

import argparse
from pathlib import Path

from terracyte.core.arguments import add_experiment

HELP = "run what is out of date of an experiment, several rows at a time"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("targets", nargs="*", help="stages, such as evaluate@blood-cnn (all)")
    add_experiment(parser)
    parser.add_argument("--workers", type=_positive, default=2, help="rows at a time (2)")


def run(arguments: argparse.Namespace) -> None:
    """Check the experiment, then run it.

    Raises:
        InputError: the experiment's files are malformed, or a stage failed.
    """
    # Imported here: `--help` needs none of it.
    from terracyte.repro.stages import reproduce

    reproduce(arguments.experiment or Path(), arguments.workers, arguments.targets)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value}: it must be 1 or more")
    return value
