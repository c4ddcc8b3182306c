"""terracyte check: params.yaml and experiment.yaml are sound and every source is there.

DVC removes a stage's outputs before it runs the stage, so what can be known earlier is checked earlier.
"""

from pathlib import Path

from terracyte import params
from terracyte.core.errors import InputError


def check(folder: Path) -> None:
    """Check an experiment.

    Args:
        folder: of the experiment.

    Raises:
        InputError: a file is missing or malformed, or a source or the weights' folder does not exist.
    """
    experiment = params.load(folder).experiment
    for task, source in experiment.sources.items():
        if not (folder / source.path).exists():
            raise InputError(
                f"{folder / 'experiment.yaml'}: 'sources.{task}.path' is {source.path!r}, which does not exist; "
                f"name what the source '{source.source}' shall read"
            )
    for name, place in (("weights", experiment.weights), ("root", f"{experiment.root}/stages")):
        if not (folder / place).is_dir():
            raise InputError(f"{folder / 'experiment.yaml'}: '{name}' leads to {place!r}, which is no folder")
