"""terracyte retrain: bring an experiment up to date and compare its results with those of the base branch.

The same on a laptop and in CI: fetch what is cached, `dvc repro` up to the scores, gate, push. What there is to read
lies in `data/retraining/`: comment.md, summary.json, and the plots.

Exit code 0: passed; 3: the gate stopped the change; 2: bad input, or a stage failed.
"""

import argparse
import sys
from pathlib import Path

from terracyte.core.arguments import experiment

HELP = "retrain what a change makes out of date; exit code 3 where the results got worse"

STOPPED = 3  # no crash and no bad input ends with it


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
