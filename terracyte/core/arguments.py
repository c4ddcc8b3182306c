"""Arguments that several commands share."""

import argparse
from pathlib import Path

from terracyte.core.errors import InputError


def add_experiment(parser: argparse.ArgumentParser, default: str = "the current folder") -> None:
    """Declare `--experiment`; other paths that the user gives stay relative to the current folder.

    Args:
        parser: the command's parser.
        default: what is used without the option, in words.
    """
    parser.add_argument(
        "--experiment",
        type=experiment,
        metavar="FOLDER",
        help=f"folder of the experiment, such as real (default: {default})",
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    """Declare `--model`, the champion to use, and `--sha256`, the hash of its model.keras if no dvc.lock lists it."""
    parser.add_argument("--model", type=Path, help="folder of the champion (default: FOLDER/data/TASK/champion)")
    parser.add_argument("--sha256", help="SHA-256 of its model.keras, if it is from elsewhere: no dvc.lock records it")


def add_batch(parser: argparse.ArgumentParser) -> None:
    """Declare `--batch`; large pictures take much memory before they are scaled."""
    parser.add_argument("--batch", type=_positive, default=64, help="images per step (64); does not change the results")


OF_TASK = "the folder named like the task, else the current one"


def of_task(asked: Path | None, task: str) -> Path:
    """Return the given experiment, else the one that `terracyte new` made for the task, else the current folder."""
    if asked is not None:
        return asked
    return own if ((own := Path(task)) / "experiment.yaml").is_file() else Path()


def experiment(text: str) -> Path:
    """Convert the value of `--experiment` to a path.

    Raises:
        InputError: the folder is no experiment's: it holds no dvc.yaml.
    """
    folder = Path(text)
    if not (folder / "dvc.yaml").is_file():
        raise InputError(f"--experiment is {text!r}, which is not an experiment: name a folder with a dvc.yaml")
    return folder


def _positive(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= 4096):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 4096")
    return int(text)
