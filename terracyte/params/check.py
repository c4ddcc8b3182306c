"""terracyte check: params.yaml is sound and every source is there; one line and exit code 2 otherwise.

DVC removes a stage's outputs before it runs the stage, so what can be known earlier is checked earlier.
"""

import argparse
from pathlib import Path

from terracyte import params
from terracyte.core.arguments import add_experiment
from terracyte.core.errors import InputError

HELP = "say what is wrong in params.yaml or missing, before DVC starts"

CHALLENGE_FILES = ("training_set.npz", "mars_for_students.npz")


def check_sources(settings: params.Params, folder: Path) -> None:
    """Refuse a source whose path, seen from `folder`, does not exist.

    Raises:
        InputError: naming the parameter and the path.
    """
    for task, source in settings.data.items():
        if not (folder / source.path).exists():
            raise InputError(
                f"params.yaml: 'data.{task}.path' is {source.path!r}, which does not exist; "
                f"name what the source '{source.source}' shall read"
            )


def check_challenge(folder: Path) -> None:
    """Refuse a folder that lacks one of the challenge files.

    Raises:
        InputError: naming the missing file.
    """
    for name in CHALLENGE_FILES:
        if not (folder / name).is_file():
            raise InputError(f"{folder / name} is missing; DATA must be the folder of {' and '.join(CHALLENGE_FILES)}")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_experiment(parser)
    parser.add_argument("--challenge", type=Path, help="folder of the two challenge files")


def run(arguments: argparse.Namespace) -> None:
    """Check params.yaml, and the sources or the challenge files.

    Raises:
        InputError: a parameter is wrong, or a source or file is missing.
    """
    settings = params.load(arguments.experiment)
    if arguments.challenge is None:
        check_sources(settings, arguments.experiment)
    else:
        check_challenge(arguments.challenge)
