"""terracyte ui: MLflow's record, brought up to date with DVC's outputs, in the browser."""

import argparse
import contextlib
from pathlib import Path

from terracyte.core.arguments import add_experiment

HELP = "open MLflow's record of the runs on this machine"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_experiment(parser)


def run(arguments: argparse.Namespace) -> None:
    """Become MLflow's server, from within the experiment's folder.

    Raises:
        InputError: the parameters are malformed.
    """
    # Imported here: `--help` needs none of it.
    from terracyte.report import ui

    with contextlib.chdir(arguments.experiment or Path()):
        ui.main()
