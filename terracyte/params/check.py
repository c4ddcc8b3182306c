"""Before DVC starts: params.yaml is sound and every source is there; one line and exit code 2 otherwise.

DVC removes a stage's outputs before it runs the stage, so what can be known earlier is checked earlier.
"""

import argparse
from pathlib import Path

from terracyte import params
from terracyte.core.errors import InputError, guarded

CHALLENGE_FILES = ("training_set.npz", "mars_for_students.npz")


def check_sources(settings: params.Params) -> None:
    """Refuse a source whose path does not exist.

    Raises:
        InputError: naming the parameter and the path.
    """
    for task, source in settings.data.items():
        if not Path(source.path).exists():
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


def main() -> None:
    """Check params.yaml and the sources."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--challenge", type=Path, help="folder of the two challenge files")
    challenge = parser.parse_args().challenge
    settings = params.load()
    if challenge is None:
        check_sources(settings)
    else:
        check_challenge(challenge)


if __name__ == "__main__":
    guarded(main)
