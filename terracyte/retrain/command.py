"""terracyte retrain: bring an experiment up to date and compare its results with those of the base branch.

It does the same on a laptop and in CI: fetch cached outputs, run `dvc repro` up to the scores, apply the gate, push.
It writes comment.md, summary.json and the plots to `data/retraining/`.

Exit code 0: passed; 3: the gate stopped the change; 2: bad input, or a stage failed.
"""

import argparse
import sys
from pathlib import Path

from terracyte.core.arguments import experiment

HELP = "retrain what a change makes out of date; exit code 3 if the results got worse"

STOPPED = 3  # an exit code that neither a crash nor bad input gives


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--base", required=True, metavar="REV", help="what to compare with, such as origin/main")
    parser.add_argument(
        "--experiment",
        type=experiment,
        action="append",
        metavar="FOLDER",
        help="folder of an experiment, such as real; may be given several times (the current one)",
    )
    parser.add_argument("--promote", action="store_true", help="let the champion change; for the main branch")
    parser.add_argument("--no-push", dest="push", action="store_false", help="send nothing to DVC's remote")
    parser.add_argument("--update", action="store_true", help="first update the data that `dvc import-url` tracks")


def run(arguments: argparse.Namespace) -> None:
    """Retrain and compare, and exit with `STOPPED` where the gate stops the change.

    Raises:
        InputError: git does not know the base, parameters or results are malformed, or a stage failed.
    """
    # Imported here: `--help` needs none of it.
    from terracyte.retrain.retraining import retrain

    passed = retrain(
        arguments.base,
        arguments.experiment or [Path()],
        promote=arguments.promote,
        push=arguments.push,
        update=arguments.update,
    )
    if not passed:
        sys.exit(STOPPED)
