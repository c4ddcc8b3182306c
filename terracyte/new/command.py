"""terracyte new NAME IMAGES: look at labelled images, and write an experiment for them into the folder NAME.

IMAGES is a folder that holds one folder per class, or `images/` and `masks/`, perhaps in each of train, val and test,
or any images if --labels or --masks is given; or it is an .npz file with `images` and `labels` or `masks`, or with
`train_images` and so on.
"""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from terracyte.core.errors import InputError

if TYPE_CHECKING:
    from terracyte.new.survey import Survey

HELP = "write an experiment for labelled images of your own"
_NAME = re.compile(r"(?!(true|false|null)$)[a-z][a-z0-9_]*", re.IGNORECASE)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("name", metavar="NAME", help="of the experiment's folder, which is made here, and of its task")
    parser.add_argument("images", metavar="IMAGES", type=Path, help="the folder of the images, or an .npz file")
    parser.add_argument("--masks", type=Path, metavar="DIR", help="the masks, named as the images")
    parser.add_argument("--labels", type=Path, metavar="FILE.csv", help="the classes: columns file, label")
    parser.add_argument("--groups", metavar="COLUMN", help="column of groups.csv, or of --labels")
    parser.add_argument(
        "--split", metavar="COLUMN", help="column of splits.csv, or of --labels; there: split by default"
    )


def run(arguments: argparse.Namespace) -> None:
    """Survey the images, print what was found, propose an experiment, and write it.

    Raises:
        InputError: the name cannot be used, the images cannot be read, or the folder exists.
    """
    # Imported here: `--help` needs none of it.
    from terracyte.new import proposal, survey, writing

    name = arguments.name
    if not _NAME.fullmatch(name):
        raise InputError(
            f"NAME is {name!r}: use letters, digits and underscores, a letter first, and no true, false or null of "
            "YAML's: it names files and metrics"
        )
    if not Path("stages").is_dir():
        raise InputError("there is no stages/ here: run this in the project's folder")
    if Path(name).exists():
        raise InputError(f"{name} exists already and stays as it is: choose another NAME, or remove it")
    found = _look(arguments)
    print(survey.describe(found))
    proposed = proposal.propose(name, found)
    print(proposal.describe(proposed))
    writing.write(name, found, proposed)
    print(f"wrote {name}/: read {name}/params.yaml, then: make repro EXPERIMENT={name}   (or: cd {name} && dvc repro)")


def _look(arguments: argparse.Namespace) -> "Survey":
    from terracyte.new import pictures, stacks

    images, options = arguments.images, ("masks", "labels", "groups", "split")
    if images.suffix.lower() != ".npz":
        return pictures.look(images, *(getattr(arguments, name) for name in options))
    given = [f"--{name}" for name in options if getattr(arguments, name) is not None]
    if given:
        raise InputError(f"{given[0]} is for folders of pictures, and {images} is an .npz file: leave it out")
    return stacks.look(images)
