"""Champion and candidate: their descriptions and predictions, and reading and writing the champion's folder.

`data/<task>/champion` holds all that serving and later comparisons need, even if the champion's variant is changed or
removed; the module `champion` says which file holds what.
"""

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from terracyte.core import files, manifests, metric_files, paths
from terracyte.core.errors import InputError
from terracyte.core.hashing import file_hash
from terracyte.evaluate import predictions
from terracyte.evaluate.predictions import Kept
from terracyte.evaluate.ranking import mean_score
from terracyte.models import seed_ensemble
from terracyte.params import Params
from terracyte.params import row as resolved
from terracyte.params.row import Row
from terracyte.promote import calibration, card, novelty
from terracyte.promote.champion import (
    CALIBRATION,
    CARD,
    MODEL,
    NOVELTY,
    RECORD,
    SCORES,
    TESTED,
    WITH_REASONS,
    prediction,
    read_record,
    restoring,
)
from terracyte.tasks.task import Task

# Keys of `champion.json` beside the description.
REASONS, BEHAVIOUR = "reasons", "behaviour"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contender:
    """A model that is champion or may become it.

    Attributes:
        about: its description, see `describe`; a champion's also has `reasons` and `behaviour`.
        models: its model files, one per seed; a stored champion has a single one.
        scores: see `evaluate.scores.summarise`.
        tested: the test images that it was tested on, see `tested`.
        kept: its predictions for these images, one entry per seed.
    """

    about: Mapping[str, Any]
    models: tuple[Path, ...]
    scores: Mapping[str, Any]
    tested: pd.DataFrame
    kept: tuple[Kept, ...]


def tested(task: Task, rows: pd.DataFrame) -> pd.DataFrame:
    """Return what identifies test images and their truth: `id`, `content_hash` and `target`, in the order of `rows`."""
    target = rows["mask_hash"] if task.dense else rows["label"].astype(str)
    return pd.DataFrame({"id": rows["id"], "content_hash": rows["content_hash"], "target": target})


def of_variant(task: Task, settings: Params, rows: pd.DataFrame, name: str) -> Contender:
    """Return a trained and evaluated variant, with all its seeds, as a contender.

    Args:
        task: the variant's task.
        settings: give the variant's title and the source of the task's data.
        rows: the present test split.
        name: the variant's name.

    Raises:
        InputError: the variant wasn't trained or evaluated, or was on other data.
    """
    row = resolved.read(task.name, name)
    training = predictions.trained(row)
    path = paths.scores(task.name, name)
    scores = metric_files.read(path) if path.exists() else {"fingerprints": {}}
    if scores["fingerprints"] != row.fingerprints:
        raise InputError(f"{path} is missing or belongs to other trainings: run `dvc repro evaluate@{name}`")
    return Contender(
        about=describe(task, settings, row, training, scores),
        models=tuple(paths.model(task.name, name, seed) for seed in row.seeds),
        scores=scores,
        tested=tested(task, rows),
        kept=tuple(predictions.stored(task.name, name, seed, rows) for seed in row.seeds),
    )


def describe(
    task: Task, settings: Params, row: Row, training: Mapping[int, Mapping[str, Any]], scores: Mapping[str, Any]
) -> dict[str, Any]:
    """Describe a contender in plain values: its training data, the images that it takes, and its scores.

    `score` is the mean headline over the seeds on the whole test split; `together` is the averaged model's headline.
    `folds` are the folds that its networks held out, in the order of the seeds; empty without folds.
    """
    height, width, channels = task.image_shape
    in_order = sorted(row.seeds, key=lambda seed: row.fingerprints[str(seed)])  # independent of the seeds' order
    low, high = scores["interval"][task.headline]
    return {
        "task": task.name,
        "variant": row.variant,
        "title": settings.variants[row.variant].title,
        "seeds": list(training),
        "folds": _held_out(row),
        "fingerprints": [run["fingerprint"] for run in training.values()],
        "models": file_hash(*(paths.model(row.task, row.variant, seed) for seed in in_order)),
        "data_hash": row.data_hash,
        "source": settings.experiment.sources[task.name].source,
        "kind": task.spec.kind,
        "classes": list(task.classes),
        "background": task.background,
        "height": height,
        "width": width,
        "channels": channels,
        "pixel_range": None if task.spec.pixel_range is None else list(task.spec.pixel_range),
        "transparent": task.spec.transparent,
        "fit": task.spec.fit,
        "initialisation": row.initialisation,
        "metric": task.headline,
        "score": scores["mean"][task.headline],
        "score_low": low,
        "score_high": high,
        "together": scores["together"][task.headline],
        "images": scores["images"],
        "groups": scores["groups"],
        "validation": {"metric": task.selection, "score": round(mean_score(task, training), 6)},
    }


def _held_out(row: Row) -> list[int]:
    """Return the fold that each network of a row held out; an empty list without folds."""
    if not row.starts[0].config.folds:
        return []
    balanced = manifests.read_balanced(row.task, ["fold"])
    return [manifests.held_out_fold(balanced, seed) for seed in row.seeds]


def read_champion(task: str) -> Contender | None:
    """Read the champion from `data/<task>/champion`; return None if there is no champion.

    Raises:
        InputError: a file of the folder is missing or damaged.
    """
    folder = paths.champion(task)
    if not (folder / RECORD).exists():
        return None
    about = read_record(folder, task)
    with restoring(folder):
        files.read_json(folder / RECORD, WITH_REASONS)
        return Contender(
            about=about,
            models=(folder / MODEL,),
            scores=files.read_json(folder / SCORES, dict),
            tested=files.read_table(folder / TESTED),
            kept=tuple(files.read_arrays(folder / prediction(seed)) for seed in about["seeds"]),
        )


def write_champion(folder: Path, task: Task, settings: Params, champion: Contender, rows: pd.DataFrame) -> None:
    """Write all files of a champion into an empty folder; the same champion gives the same bytes.

    Args:
        folder: the folder that becomes `paths.champion(task.name)`.
        task: the champion's task.
        settings: those of the promotion and of the resampling are used.
        champion: its description has `reasons` and `behaviour`; it was trained on the present data.
        rows: the present test split, which is also the champion's.
    """
    with seed_ensemble.model_file(champion.models) as model:
        shutil.copyfile(model, folder / MODEL)
    calibration.write(task, folder / MODEL, folder / CALIBRATION, champion.about.get("folds", []))
    novelty.write(task, folder / NOVELTY, settings.promote[task.name].unfamiliar)
    for seed, kept in zip(champion.about["seeds"], champion.kept, strict=True):
        files.write_arrays(folder / prediction(seed), kept)
    files.write_table(folder / TESTED, champion.tested)
    files.write_json(folder / SCORES, champion.scores)
    files.write_json(folder / RECORD, champion.about)
    text = card.card(task, champion.about, champion.scores, card.class_intervals(task, rows, champion.kept, settings))
    files.write_text(folder / CARD, text)
