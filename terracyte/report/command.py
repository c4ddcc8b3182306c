"""terracyte ui: MLflow's record, brought up to date with DVC's outputs, in the browser."""

import argparse
import contextlib
from pathlib import Path

from terracyte.core import listening
from terracyte.core.arguments import add_experiment

PORT = 5000

HELP = "show MLflow's record of the runs in the browser"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_experiment(parser)
    listening.add_host(parser)
    parser.add_argument("--port", type=int, default=PORT, help=f"port to listen on ({PORT})")


def run(arguments: argparse.Namespace) -> None:
    """Serve MLflow's record, from within the experiment's folder, until Ctrl-C.

    Raises:
        InputError: the parameters are malformed, or the server fails.
    """
    # Imported here: `--help` does not need it.
    from terracyte.report import ui

    with contextlib.chdir(arguments.experiment or Path()):
        ui.main(arguments.host, arguments.port)
