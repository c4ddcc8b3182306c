"""Predictions of the test split, its one reader apart from the report's pictures."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from terracyte.core import files, manifests, metric_files, paths, quiet
from terracyte.core.errors import InputError
from terracyte.images.shift import copies as shift
from terracyte.params.row import Row
from terracyte.tasks.task import Task

# What `Task.decode` kept of one model's outputs, rows in the order of the test split: of the images as they are
# (n, ...), and under names with `SHIFT` in front (n, corruptions, ...) of their copies under shift.
Kept = dict[str, NDArray[Any]]

SHIFT = "shift_"

_BATCH = 64  # images per step; no result depends on it


def test_rows(task: str) -> pd.DataFrame:
    """The test split: the balanced manifest's rows, in ascending order of id.

    Raises:
        InputError: nothing was balanced yet, or the split is empty.
    """
    manifest = manifests.read_balanced(task)
    rows = manifest[manifest["split"] == "test"].sort_values("id", ignore_index=True)
    if rows.empty:
        raise InputError(
            f"{paths.balance_manifest(task)}: no row's split is 'test'; raise balance.{task}.test in params.yaml"
        )
    return rows


def trained(row: Row) -> dict[int, Mapping[str, Any]]:
    """What each seed's training of a row settled on, by seed; see `paths.training`.

    A training of another configuration or of other data is refused: it may have seen today's test images.

    Raises:
        InputError: a seed wasn't trained, or otherwise than the row says.
    """
    command = f"run `dvc repro train@{row.variant}`"
    path = paths.training(row.task, row.variant)
    records = metric_files.read(path, {str: {"fingerprint": str}}) if path.exists() else {}
    for seed, fingerprint in row.fingerprints.items():
        model = paths.model(row.task, row.variant, int(seed))
        if seed not in records or not model.exists():
            raise InputError(f"{model} is missing: {command}")
        if records[seed]["fingerprint"] != fingerprint:
            raise InputError(f"{path}: seed {seed} was trained with other params or data: {command}")
    return {seed: records[str(seed)] for seed in row.seeds}


def predict(task: Task, rows: pd.DataFrame, variant: str, seeds: Sequence[int]) -> tuple[dict[int, Kept], Kept | None]:
    """Let a row's models predict the given images, each once as it is and once under each of the task's corruptions.

    Args:
        task: the variant's.
        rows: of the balanced manifest.
        variant: which variant's models.
        seeds: of the models.

    Returns:
        `id` (n,) and what the task keeps of the logits, see `Kept`: of each seed, and of the mean of all seeds' logits
        (None where there is one seed).

    Raises:
        InputError: a model can't be read, or its outputs are not finite.
    """
    # Imported here: the report scores stored predictions without Keras.
    with quiet.importing_keras():
        from terracyte.models import inference
        from terracyte.models.serialization import read_model

    inference.make_repeatable(0)
    models = {seed: paths.model(task.name, variant, seed) for seed in seeds}
    networks = [read_model(path) for path in models.values()]
    ids = rows["id"].to_numpy(np.int64)
    copies = 1 + len(task.corruptions)
    alone: dict[int, list[Kept]] = {seed: [] for seed in seeds}
    together: list[Kept] = []
    with tqdm(total=copies * len(ids), desc=variant, unit="image", disable=None) as bar:
        for images in _shown(task, ids):
            logits = [inference.logits(network, images, min(_BATCH, len(ids))) for network in networks]
            for (seed, path), values in zip(models.items(), logits, strict=True):
                alone[seed].append(task.decode(_finite(values, path)))
            if len(seeds) > 1:
                together.append(task.decode(np.mean(logits, axis=0)))
            bar.update(len(images))

    def joined(parts: list[Kept]) -> Kept:
        kept = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return {"id": ids, **_separated(kept, copies)}

    return {seed: joined(parts) for seed, parts in alone.items()}, joined(together) if together else None


def _shown(task: Task, ids: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
    """Batches (b, h, w, c): all images as they are, then all under the first corruption, and so on."""
    images = files.map_array(paths.images(task.name))
    batches = [slice(start, start + _BATCH) for start in range(0, len(ids), _BATCH)]
    for batch in batches:
        yield images[ids[batch]]
    if not task.corruptions:
        return
    severities = shift.test_severities(len(ids), len(task.corruptions))
    for column, name in enumerate(task.corruptions):
        for batch in batches:
            yield shift.test_copy(images, ids[batch], name, severities[batch, column])


def _separated(kept: Kept, copies: int) -> Kept:
    """Arrays of all copies' predictions (copies · n, ...) → those of the first, and those of the others."""
    split = {name: array.reshape(copies, -1, *array.shape[1:]) for name, array in kept.items()}
    clean = {name: array[0] for name, array in split.items()}
    if copies == 1:
        return clean
    return clean | {f"{SHIFT}{name}": array[1:].swapaxes(0, 1) for name, array in split.items()}


def _finite(logits: NDArray[np.floating[Any]], model: Path) -> NDArray[np.floating[Any]]:
    if not np.isfinite(logits).all():
        raise InputError(f"{model}: its outputs are not finite, the training diverged; lower its learning_rate")
    return logits


def stored(task: str, variant: str, seed: int, rows: pd.DataFrame) -> Kept:
    """Read the predictions of one model back.

    Raises:
        InputError: they are missing, or are not those of `rows`.
    """
    path = paths.prediction(task, variant, seed)
    kept = files.read_arrays(path) if path.exists() else {}
    if not np.array_equal(kept.get("id", np.zeros(0)), rows["id"]):
        raise InputError(f"{path} is missing or not of the present test split: run `dvc repro evaluate@{variant}`")
    return kept
