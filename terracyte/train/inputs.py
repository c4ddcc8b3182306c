"""What a training reads of the experiment's folder, for machines that do not have it."""

import numpy as np

from terracyte.compute import Inputs
from terracyte.core import manifests, paths
from terracyte.tasks.task import Task


def of_training(task: Task, variant: str) -> Inputs:
    """Everything that trials and trainings of a variant read. The images and masks of the test split stay at home."""
    splits = manifests.read_balanced(task.name, ["id", "split"])
    ids = splits.loc[splits["split"] != "test", "id"].to_numpy(np.int64)
    arrays = [paths.images(task.name), *([paths.masks(task.name)] if task.dense else [])]
    files = [
        paths.PARAMS,
        paths.EXPERIMENT,
        paths.balance_manifest(task.name),
        paths.balance(task.name),
        paths.config(task.name, variant),
        paths.pretrained(variant).parent,
    ]
    return Inputs(tuple(path for path in files if path.exists()), dict.fromkeys(arrays, ids))
