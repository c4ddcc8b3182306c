"""Weights of classes in the loss, and weights and repeats of training images."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terracyte.core.errors import InputError
from terracyte.params import Balance
from terracyte.tasks.task import Task


def class_weights(task: Task, training: pd.DataFrame, power: float, cap: float) -> NDArray[np.float64]:
    """Compute the weights of the classes in the loss.

    Args:
        task: the task, which defines the classes.
        training: rows of the manifest; each scored class occurs in them.
        power: 0 gives equal weights, 1 the full inverse of the frequencies.
        cap: largest weight relative to the smallest.

    Returns:
        (k,) (mean frequency / frequency) ** power, capped, with mean 1 over the scored classes; 0 for background.
    """
    scored = list(task.scored_classes)
    frequencies = task.class_counts(training)[:, scored].sum(axis=0)
    inverse = (frequencies.mean() / frequencies) ** power
    capped = np.minimum(inverse, cap * inverse.min())
    weights = np.zeros(len(task.classes))
    weights[scored] = capped / capped.mean()
    return weights


def sampling_weights(task: Task, training: pd.DataFrame, cap: float) -> NDArray[np.float64]:
    """Compute how often to draw each training image so that rare classes are seen as often as frequent ones.

    Returns:
        (n,) weights with mean 1: the inverse frequency of an image's classes, capped like class weights, averaged over
        its content (pixels or label); 0 for images without any scored class.
    """
    counts = task.class_counts(training).astype(np.float64)
    rarity = class_weights(task, training, power=1, cap=cap)
    content = counts[:, list(task.scored_classes)].sum(axis=1)
    weights = counts @ rarity / np.maximum(content, 1)
    return np.asarray(weights / weights.mean())


def repeats(task: Task, rows: pd.DataFrame, settings: Balance) -> NDArray[np.int64]:
    """Return (n,) how often an epoch shows each image: `rare_repeats` if it holds the rare class, else 1.

    Raises:
        InputError: `rare_class` is no scored class.
    """
    if settings.rare_class is None:
        return np.ones(len(rows), np.int64)
    names = [task.classes[k] for k in task.scored_classes]
    if settings.rare_class not in names:
        raise InputError(
            f"params.yaml: 'balance.{task.name}.rare_class' is '{settings.rare_class}'; "
            f"it must be null or one of {', '.join(names)}"
        )
    holds = task.class_counts(rows)[:, task.classes.index(settings.rare_class)] > 0
    return np.where(holds, settings.rare_repeats, 1).astype(np.int64)
