"""terracyte check: verify that params.yaml and experiment.yaml are valid, and that everything they name exists.

DVC removes a stage's outputs before running the stage, so whatever can be checked before that is checked here.
"""

import argparse
from pathlib import Path

from terracyte import params
from terracyte.core import paths
from terracyte.core.arguments import add_experiment
from terracyte.core.errors import InputError

HELP = "find mistakes and missing files in an experiment before DVC starts"


def check(folder: Path) -> None:
    """Check an experiment.

    Args:
        folder: the experiment's folder.

    Raises:
        InputError: a file is missing or malformed, the experiment's dvc.yaml differs from the root's, or a source or
            folder does not exist.
    """
    experiment = params.load(folder).experiment
    file, root = folder / paths.EXPERIMENT, folder / experiment.root
    if not (root / "stages").is_dir():
        raise InputError(f"{file}: 'root' is {experiment.root!r}, which has no stages/: name the project's folder")
    require_current_stages(folder, root)
    if not (folder / experiment.weights).is_dir():
        raise InputError(f"{file}: 'weights' is {experiment.weights!r}, which is not a folder: create or correct it")
    for task, source in experiment.sources.items():
        if not (folder / source.path).exists():
            raise InputError(
                f"{file}: 'sources.{task}.path' is {source.path!r}, which does not exist; "
                f"name what the source '{source.source}' should read"
            )


def require_current_stages(folder: Path, root: Path) -> None:
    """Require the experiment's dvc.yaml to be that of the project's folder: an older one misses what stages depend on.

    Raises:
        InputError: they differ.
    """
    if (folder / "dvc.yaml").read_bytes() != (root / "dvc.yaml").read_bytes():
        raise InputError(f"{folder / 'dvc.yaml'} differs from {root / 'dvc.yaml'}: replace it with a copy of that file")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_experiment(parser)


def run(arguments: argparse.Namespace) -> None:
    """Check the experiment; see `check`."""
    check(arguments.experiment or Path())
