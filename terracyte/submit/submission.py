"""Writes a challenge's submission with the task's best model: code for labels, predictions for masks."""

import os
from pathlib import Path
from typing import Any

from terracyte.core import files, paths
from terracyte.core.hashing import file_hash
from terracyte.evaluate import predictions, ranking
from terracyte.models import seed_ensemble
from terracyte.params import Params, lock, row
from terracyte.params.schema import check_keys
from terracyte.submit import labels, masks
from terracyte.tasks.task import Task


def write(task: Task, settings: Params, folder: Path, variant: str | None = None) -> dict[str, Any]:
    """Write the submission of the variant with the best validation score, and `submission.json`.

    The models of several seeds are submitted as one model, whose logits are the mean of theirs.

    Args:
        task: a task with labels gives `<task>.zip`, see `labels`; one with masks gives `<task>.csv`, see `masks`.
        settings: the parameters, whose variants and seeds compete.
        folder: an empty folder that becomes `paths.submission(task.name)`.
        variant: the only variant to compete; None for all that aren't marked, or for all if every one is.

    Returns:
        The content of `submission.json`: the file, its SHA-256 and the model; for masks, the number of images.

    Raises:
        InputError: the task has no such variant, a competing variant wasn't trained or was trained with other params
            or data, or, outside a DVC stage, the best variant's models differ from dvc.lock.
    """
    competing = settings.rows_of(task.name)
    if variant is None:
        competing = {name: each for name, each in competing.items() if not each.marked} or competing
    else:
        check_keys([variant], competing, f"rows of {task.name}", "experiment.yaml")
        competing = {variant: competing[variant]}
    training = {name: predictions.trained(row.read(task.name, name)) for name in competing}
    variant = ranking.best_variant(task, training)
    runs = training[variant]
    if "DVC_STAGE" not in os.environ:  # within a stage, DVC has already compared the models
        lock.check(paths.models(task.name, variant))
    fingerprints = [run["fingerprint"] for run in runs.values()]
    summary: dict[str, Any] = {"variant": variant, "seeds": list(runs), "fingerprints": fingerprints}
    with seed_ensemble.model_file([paths.model(task.name, variant, seed) for seed in runs]) as model:
        if task.dense:
            file = folder / f"{task.name}.csv"
            summary["images"] = masks.write(task, model, file)
        else:
            file = folder / f"{task.name}.zip"
            labels.write(model, file)
    summary |= {"file": file.name, "sha256": file_hash(file)}
    files.write_json(folder / "submission.json", summary)
    return summary


def describe(task: Task, summary: dict[str, Any]) -> str:
    """Return one line about what `write` returned."""
    place = paths.submission(task.name) / summary["file"]
    if summary.get("images") == 0:
        return f"{place} holds only a header: the source has no images without masks ({paths.unlabelled(task.name)})"
    return f"{place}: {summary['variant']}, seed {' '.join(map(str, summary['seeds']))}"
