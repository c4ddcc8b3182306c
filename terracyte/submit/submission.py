"""What each challenge asks for, made with the task's best model: code for labels, predictions for masks."""

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
    """Write the submission of the best variant by validation, and `submission.json`.

    Where the variant has several seeds, their models submit together, as one whose logits are their mean.

    Args:
        task: with labels: `<task>.zip`, see `labels`; with masks: `<task>.csv`, see `masks`.
        settings: its variants and seeds compete.
        folder: an empty folder that becomes `paths.submission(task.name)`.
        variant: competes alone; None for all that aren't marked.

    Returns:
        What `submission.json` holds: the file, its SHA-256 and the model; for masks, the number of images.

    Raises:
        InputError: `variant` is none of the task's, or a competing one wasn't trained, or was on other data, or its
            models are not those of dvc.lock.
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
    if "DVC_STAGE" not in os.environ:  # DVC has compared the models already
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
    """One line about what `write` returned."""
    place = paths.submission(task.name) / summary["file"]
    if summary.get("images") == 0:
        return f"{place} holds its header only: the source has no images without masks ({paths.unlabelled(task.name)})"
    return f"{place}: {summary['variant']}, seed {' '.join(map(str, summary['seeds']))}"
