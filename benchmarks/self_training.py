"""Make an experiment that trains on a submission's predictions beside the labelled images (self-training).

python -m benchmarks.self_training FOLDER [--experiment real] [--submission real/submission/mars.csv.gz]
terracyte repro evaluate@mars-unet_final --experiment FOLDER

FOLDER is new, beside `real`. Its training split is that of the experiment and, in addition, the images whose masks the
challenge withholds, labelled by the submission (the teacher). Pixels that the teacher takes for the rare class become
background, which no loss counts. Validation and test are the experiment's, so scores can be compared with its rows;
images that look like one of theirs are left out.
"""

import argparse
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terracyte import params
from terracyte.balance.split import group
from terracyte.core import files, manifests, paths
from terracyte.core.errors import InputError, guarded
from terracyte.images import statistics
from terracyte.params import Balance

_TASK, _ROW = "mars", "mars-unet_final"
_EXPERIMENT = """root: ..
weights: {weights}
sources:
  {task}: {{source: npz, path: {task}.npz}}
rows: {{{row}: {task}}}
override: {{seeds: [0, 1, 2], tune.{task}.trials: 0}}
"""


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--experiment", type=Path, default=Path("real"), help="folder whose mars is balanced (real)")
    parser.add_argument("--submission", type=Path, default=Path("real/submission/mars.csv.gz"), help="the teacher's")
    arguments = parser.parse_args()
    labelled, submission = arguments.experiment, arguments.submission.resolve()
    with files.atomic_folder(arguments.folder.resolve()) as folder:
        os.chdir(labelled)
        files.write_arrays(folder / f"{_TASK}.npz", _splits(submission))
        for file in (Path("dvc.yaml"), paths.PARAMS):
            shutil.copy(file, folder)
        content = _EXPERIMENT.format(task=_TASK, row=_ROW, weights=params.load().experiment.weights)
        (folder / paths.EXPERIMENT).write_text(content, encoding="utf-8")


def _splits(submission: Path) -> dict[str, NDArray[Any]]:
    """Return images (n, h, w) and masks (n, h, w) of each split, as `source: npz` names them."""
    settings = params.load()
    task = settings.tasks[_TASK]
    rare = task.classes.index(settings.balance[_TASK].rare_class)
    images, masks = files.map_array(paths.images(_TASK)), files.map_array(paths.masks(_TASK))
    unlabelled = files.map_array(paths.unlabelled(_TASK))
    predicted = pd.read_csv(submission, index_col="id").to_numpy(np.uint8)
    if len(predicted) != len(unlabelled):
        raise InputError(f"{submission}: {len(predicted)} rows for {len(unlabelled)} images without masks")
    predicted = np.where(predicted == rare, task.classes.index(task.background), predicted)
    predicted = predicted.reshape(-1, *masks.shape[1:])
    manifest = manifests.read_balanced(_TASK, ["id", "split"])
    unlike = _unlike_held_out(images[manifest["id"]], manifest["split"] != "train", unlabelled, settings.balance[_TASK])
    arrays = {}
    for split, rows in manifest.groupby("split"):
        arrays[f"{split}_images"], arrays[f"{split}_masks"] = images[rows["id"]][..., 0], masks[rows["id"]]
    arrays["train_images"] = np.concatenate([arrays["train_images"], unlabelled[unlike][..., 0]])
    arrays["train_masks"] = np.concatenate([arrays["train_masks"], predicted[unlike]])
    return arrays


def _unlike_held_out(
    images: NDArray[np.uint8], held_out: "pd.Series[bool]", unlabelled: NDArray[np.uint8], settings: Balance
) -> NDArray[np.int64]:
    """Return the places of the unlabelled images that share no group of similar images with a held-out one.

    What is similar depends a little on which images there are, so what is left is looked at again.
    """
    left = np.arange(len(unlabelled))
    while True:
        together = np.concatenate([images, unlabelled[left]])
        manifest = statistics.describe(together).assign(id=np.arange(len(together)), declared_group="")
        groups = group(together, manifest, settings)
        alike = np.isin(groups[len(images) :], groups[: len(images)][held_out])
        if not alike.any():
            return left
        left = left[~alike]


if __name__ == "__main__":
    guarded(main)
