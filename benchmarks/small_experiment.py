"""A very small experiment with all stages, two tasks and a search of two trials each: about two minutes on one core."""

import shutil
import subprocess
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from terracyte.core import git

ROOT = Path(__file__).parents[1]

_ROWS = {"blood-cnn": "blood", "mars-unet_1": "mars"}
# TensorFlow traces few layers faster; with two epochs, a killed training can resume after the first.
_NETWORK = {"width": 4, "depth": 1, "epochs": 2, "batch_size": 32, "test_time_flips": False}
_SEARCH = {"trials": 2, "change": {"epochs": 1}}


def write(folder: Path) -> None:
    """Make `folder` a git repository with this working tree's code and the small experiment, of which no stage has run.

    Args:
        folder: a folder that does not exist yet, or an empty one.
    """
    copy_tree(folder, left_out=("metrics", "real", "docs", "tests", "dvc.lock"))
    shorten(folder)
    edit(folder / "experiment.yaml", _choose)
    who = ("-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost")
    for command in (("init", "--quiet"), ("add", "--all"), (*who, "commit", "--quiet", "-m", "A small experiment")):
        subprocess.run(["git", *command], cwd=folder, check=True)


def copy_tree(folder: Path, left_out: Collection[str]) -> None:
    """Copy this working tree's files into `folder`, except what git ignores and the root's entries `left_out`."""
    listed = git.run("ls-files", "-z", "--cached", "--others", "--exclude-standard", folder=ROOT) or ""
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and name.partition("/")[0] not in left_out:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)


def shorten(folder: Path) -> None:
    """Shrink the embedded sample, and shorten the stages that use it, in the experiment in `folder`."""
    edit(folder / "params.yaml", _shorten)
    edit(folder / "data/sources/blood_sample.yaml", _draw_few_cells)
    edit(folder / "data/sources/mars_sample.yaml", lambda recipe: recipe.update(views=80, drives=10))


def edit(file: Path, change: Callable[[Any], None]) -> None:
    """Change the content of a YAML file."""
    from ruamel.yaml import YAML

    yaml = YAML()
    content = yaml.load(file.read_text(encoding="utf-8"))
    change(content)
    with file.open("w", encoding="utf-8") as stream:
        yaml.dump(content, stream)


def metrics(folder: Path) -> dict[str, bytes]:
    """Return the content of each file in `metrics/`, by its path there."""
    root = folder / "metrics"
    return {str(file.relative_to(root)): file.read_bytes() for file in sorted(root.rglob("*")) if file.is_file()}


def _shorten(content: Any) -> None:
    content["evaluate"]["bootstrap"] = 50
    content["report"].update(examples=2, hardest=2, contact_sheet=4)
    for task in dict.fromkeys(_ROWS.values()):
        content["promote"][task].update(images=4, flip_agreement=0.0, brightness_agreement=0.0)
        space = content["tune"][task]["space"]
        content["tune"][task]["space"] = {"learning_rate": space["learning_rate"]}


def _choose(content: Any) -> None:
    content["rows"] = dict(_ROWS)
    content["override"] = {
        "reference.blood": _NETWORK,
        "reference.mars": _NETWORK,
        "tune.blood": _SEARCH,
        "tune.mars": {"variant": "mars-unet_1", **_SEARCH},
        "variants.mars-unet_1.change": {"epochs": _NETWORK["epochs"]},
    }


def _draw_few_cells(recipe: Any) -> None:
    recipe["cells"] = {name: max(count // 3, 20) for name, count in recipe["cells"].items()}
    recipe["planted"].update(repeated_image=16, exact_duplicate=4, conflicting_duplicate=2, near_duplicate=4)
