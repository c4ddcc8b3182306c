"""terracyte new NAME IMAGES: look at labelled images, and write an experiment for them into the folder NAME.

IMAGES is a folder that holds one folder per class, or `images/` and `masks/`, perhaps in each of train, val and test,
or any images if --labels or --masks is given; or it is an .npz file with `images` and `labels` or `masks`, or with
`train_images` and so on, or with `X` and `y`, or `x_train` and `y_train` and so on.
"""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from terracyte.core.errors import InputError

if TYPE_CHECKING:
    from terracyte.new.survey import Survey

HELP = "write an experiment for your own labelled images"
_NAME = re.compile(r"(?!(true|false|null)$)[a-z][a-z0-9_]*", re.IGNORECASE)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("name", metavar="NAME", help="the name of the new task and of its folder, which is made here")
    parser.add_argument("images", metavar="IMAGES", type=Path, help="the folder of the images, or an .npz file")
    parser.add_argument(
        "--masks", type=Path, metavar="DIR", help="the folder of the masks, named like their images (or x_mask.png)"
    )
    parser.add_argument("--labels", type=Path, metavar="FILE.csv", help="the classes: columns file and label")
    parser.add_argument(
        "--groups",
        metavar="COLUMN",
        help="the column of groups, in groups.csv or the --labels file; in an .npz, the array",
    )
    parser.add_argument(
        "--split",
        metavar="COLUMN",
        help="the column of given splits, in splits.csv or the --labels file (there, split is the default)",
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
            f"NAME is {name!r}: it names files and metrics, so it must be letters, digits and underscores, start with "
            "a letter, and not be YAML's true, false or null"
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

    images = arguments.images
    if images.suffix.lower() != ".npz":
        return pictures.look(images, arguments.masks, arguments.labels, arguments.groups, arguments.split)
    given = [f"--{name}" for name in ("masks", "labels", "split") if getattr(arguments, name) is not None]
    if given:
        raise InputError(f"{given[0]} is for folders of pictures, but {images} is an .npz file: leave the option out")
    return stacks.look(images, arguments.groups)
