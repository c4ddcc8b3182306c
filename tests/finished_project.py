"""A project in which all stages before `report` seem to have run: made in seconds, without training."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from terracyte import params, tasks
from terracyte.clean import decide
from terracyte.clean.rules import NO_TWIN
from terracyte.configure import rows
from terracyte.core import files, metric_files, paths
from terracyte.core.hashing import file_hash
from terracyte.evaluate import confusions, predictions
from terracyte.evaluate import scores as evaluation
from terracyte.fetch import initialisation
from terracyte.params import Params, yaml_files
from terracyte.params import row as resolved
from terracyte.params.row import IMAGENET, RANDOM
from terracyte.promote import calibration, contenders
from terracyte.tasks.task import Task
from tests.conftest import write_settings

VARIANTS: dict[str, dict[str, Any]] = {
    "blood-baseline": {"task": "blood", "title": "nothing learnt", "change": {"architecture": "majority"}},
    "blood-cnn": {"task": "blood", "title": "a network", "published": 0.354, "change": {}},
    "blood-transfer": {"task": "blood", "title": "a network from elsewhere", "change": {"width": 16}},
    "mars-baseline": {"task": "mars", "title": "nothing learnt", "change": {"architecture": "majority"}},
    "mars-unet": {"task": "mars", "title": "a network | with a pipe", "published": 0.7322, "change": {}},
}
INITIALISATION = {"blood-transfer": IMAGENET}  # the others start from random weights
# The outcome of a search as `search.search` returns it; fresh seeds did not confirm its best trial.
TUNING: dict[str, Any] = {
    "study": "a-0123456789ab",
    "variant": "a-network",
    "share": 0.5,
    "change": {"epochs": 2},
    "space": {
        "learning_rate": {"low": 1e-5, "high": 1e-2, "scale": "log"},
        "schedule": {"choices": ["cosine", "constant"]},
        "warmup": {"low": 0.0, "high": 0.2, "scale": "linear", "when": {"schedule": ["cosine"]}},
    },
    "best": {"number": 1, "score": 0.75, "values": {"learning_rate": 2e-3, "schedule": "constant"}},
    "confirmation": {"seeds": [1.0, 2.0], "reference": [0.5, 0.6], "winner": [0.4, 0.5]},
    "chosen": "reference",
    "values": {},
    "importances": {"learning_rate": 0.75, "schedule": 0.25},
    "trials": [
        {
            "number": 0,
            "state": "complete",
            "score": 0.5,
            "epochs": [0.3, 0.5],
            "values": {"learning_rate": 1e-3, "schedule": "cosine", "warmup": 0.1},
        },
        {
            "number": 1,
            "state": "complete",
            "score": 0.75,
            "epochs": [0.5, 0.75],
            "values": {"learning_rate": 2e-3, "schedule": "constant"},
        },
        {
            "number": 2,
            "state": "pruned",
            "score": 0.25,
            "epochs": [0.25],
            "values": {"learning_rate": 1e-5, "schedule": "constant"},
        },
        {
            "number": 3,
            "state": "failed",
            "score": None,
            "epochs": [],
            "values": {"learning_rate": 1e-2, "schedule": "constant"},
            "failure": "the loss of epoch 1 is not finite",
        },
    ],
}

# Results of the champion's behaviour tests.
BEHAVIOUR: dict[str, Any] = {
    "flips": {"passed": True, "figure": 0.95, "bound": 0.9},
    "brightness": {"passed": True, "figure": 1.0, "bound": 0.9},
    "empty_image": {"passed": True},
    "batch_of_one": {"passed": True, "figure": 0.0, "bound": 0.001},
}

IMAGES = 120
_SPLITS = ("train", "validation", "test")


def build(
    variants: Mapping[str, Mapping[str, Any]] = VARIANTS, seeds: Sequence[int] = (0, 1), images: int = IMAGES
) -> None:
    """Fill the working directory for both tasks; its parameters get small images, these seeds and variants."""
    _declare(variants, seeds)
    settings = params.load()
    for name in settings.task_names:
        task = tasks.make(name, settings)
        files.write_json(paths.tuning(name), TUNING)
        files.write_json(paths.tuned(name), {})
        manifest = _raw(task, images)
        cleaned = _clean(task, manifest)
        _balance(task, cleaned)
        _validation(task, cleaned)
        for variant in settings.rows_of(name):
            initialisation.write(paths.pretrained(variant), INITIALISATION.get(variant, RANDOM))
        configure(name)
        for variant in settings.rows_of(name):
            train(task, variant)
            evaluate(task, variant, settings)
        promote(task, settings)


def _declare(variants: Mapping[str, Mapping[str, Any]], seeds: Sequence[int]) -> None:
    content = yaml_files.read_yaml(paths.PARAMS)
    content["seeds"] = list(seeds)
    content["variants"] = variants
    content["evaluate"]["bootstrap"] = 100
    for tune in content["tune"].values():
        tune["trials"] = 0  # the searches' variants are not declared here
    for task in content["tasks"].values():
        task |= {"height": 32, "width": 32}
    write_settings(paths.PARAMS, content)
    experiment = yaml_files.read_yaml(paths.EXPERIMENT)
    experiment |= {"rows": {name: variant["task"] for name, variant in variants.items()}, "override": {}}
    write_settings(paths.EXPERIMENT, experiment)


def configure(task: str) -> None:
    """Write what stage `configure` writes."""
    paths.configs(task).mkdir(parents=True, exist_ok=True)
    rows.write(params.load(), task, paths.configs(task))


def train(task: Task, variant: str) -> None:
    """Write what a training leaves behind; the model's file is empty."""
    row = resolved.read(task.name, variant)
    runs, curves = {}, []
    for identity in row.identities:
        seed = identity.seed
        files.write_text(paths.model(task.name, variant, seed), "")
        runs[str(seed)] = {
            "fingerprint": identity.fingerprint,
            "data_hash": row.data_hash,
            "code": "0123456789ab",
            "best_epoch": 4,
            "epochs": 6,
            "parameters": 123456,
            "initialisation": row.initialisation,
            **dict.fromkeys(_validation_scores(task), _skill(variant)),
        }
        for epoch in range(1, 7):
            gain = (1 - 0.5**epoch) * (1 - 0.02 * seed)
            scores = dict.fromkeys(_validation_scores(task), _skill(variant) * gain)
            curves.append({"seed": seed, "epoch": epoch, "loss": 2 - gain, "val_loss": 2 - 0.9 * gain, **scores})
    metric_files.write(paths.training(task.name, variant), {}, runs)
    files.write_csv(paths.curves(task.name, variant), pd.DataFrame(curves))


def evaluate(task: Task, variant: str, settings: Params) -> None:
    """Write made-up predictions and the scores that they really have."""
    tested = predictions.test_rows(task.name)
    row = resolved.read(task.name, variant)
    kept = {seed: _predictions(task, tested, _skill(variant), seed) for seed in row.seeds}
    for seed, arrays in kept.items():
        files.write_arrays(paths.prediction(task.name, variant, seed), arrays)
    together = _predictions(task, tested, _skill(variant), seed=len(kept))
    files.write_arrays(paths.confusions(task.name, variant), confusions.compact(task, tested, list(kept.values())))
    scores = evaluation.summarise(task, row, tested, kept, settings.evaluate, together)
    metric_files.write(paths.scores(task.name, variant), scores["mean"], scores)


def calibrate(task: Task, model: Path, path: Path, folds: Sequence[int]) -> None:
    """Replace `calibration.write`, which cannot use an empty model."""
    files.write_json(path, {"temperature": 1.0})


def promote(task: Task, settings: Params) -> None:
    """Make the first network champion, and the baseline the refused candidate; the champion's model is empty."""
    rows = predictions.test_rows(task.name)
    baseline, network = (
        contenders.of_variant(task, settings, rows, name) for name in list(settings.rows_of(task.name))[:2]
    )
    about = {**network.about, "reasons": ["There was no other."], "behaviour": BEHAVIOUR}
    network = dataclasses.replace(network, about=about, models=network.models[:1])
    with pytest.MonkeyPatch.context() as patch, files.atomic_folder(paths.champion(task.name)) as folder:
        patch.setattr(calibration, "write", calibrate)
        contenders.write_champion(folder, task, settings, network, rows)
    outcome = {
        "champion": about,
        "candidate": baseline.about,
        "promoted": False,
        "reasons": ["It is no better.", "It is steady."],
        "against": ["It is no better."],
        "checks": {"comparison": None, "behaviour": BEHAVIOUR},
        "history": [],
    }
    files.write_json(paths.promotion(task.name), outcome)


def _validation_scores(task: Task) -> list[str]:
    return [f"val_{name}" for name in dict.fromkeys([task.headline, task.shift_headline, task.selection]) if name]


def _skill(variant: str) -> float:
    """Return the share of right predictions of a variant: networks beat the baselines."""
    return 0.25 if variant.endswith("baseline") else 0.85


def _predictions(task: Task, rows: pd.DataFrame, skill: float, seed: int) -> predictions.Kept:
    random = np.random.default_rng(seed)
    truth = task.targets(rows)
    kept = task.decode(_logits(task, truth, skill, random))
    shifted = [
        task.decode(_logits(task, truth, skill * 0.9**place, random)) for place, _ in enumerate(task.corruptions)
    ]
    under_shift = {f"shift_{name}": np.stack([one[name] for one in shifted], axis=1) for name in kept if shifted}
    return {"id": rows["id"].to_numpy(np.int64), **kept, **under_shift}


def _logits(task: Task, truth: NDArray[Any], skill: float, random: np.random.Generator) -> NDArray[np.float64]:
    # Whole blocks of pixels are wrong together, as real predictions are.
    block = 8 if task.dense else 1
    coarse = tuple(size if axis == 0 else size // block for axis, size in enumerate(truth.shape))
    right, guess = random.random(coarse) < skill, random.integers(0, len(task.classes), coarse)
    for axis in range(1, truth.ndim):
        right, guess = right.repeat(block, axis), guess.repeat(block, axis)
    shown = np.where(right, truth, guess)
    return 3 * np.eye(len(task.classes))[shown] + random.normal(size=(*shown.shape, len(task.classes)))


def _raw(task: Task, count: int) -> pd.DataFrame:
    random = np.random.default_rng(len(task.name))
    height, width, channels = task.image_shape
    labels = random.permutation(np.arange(count) % len(task.classes))
    y, x = np.mgrid[:height, :width] / min(height, width)
    masks = np.stack([_terrain(task, label, y, x) for label in labels])
    tint = random.uniform(60, 230, (len(task.classes), channels))
    images = tint[masks] + random.normal(0, 12, (count, height, width, channels))
    # Two joke pictures: one three times, one twice.
    images[[3, 4]], images[6] = images[2], images[5]
    pixels = images.clip(0, 255).astype(np.uint8)
    paths.raw(task.name).mkdir(parents=True)
    np.save(paths.images(task.name), pixels)
    manifest = pd.DataFrame({"id": np.arange(count), "name": [f"image {i}" for i in range(count)]})
    manifest["content_hash"] = [image.tobytes().hex()[:64] for image in pixels]
    if task.dense:
        np.save(paths.masks(task.name), masks.astype(np.uint8))
        manifest["mask_hash"] = [mask.tobytes().hex()[-64:] for mask in masks]
        for k in range(len(task.classes)):
            manifest[f"pixels_{k}"] = (masks == k).sum(axis=(1, 2))
    else:
        manifest["label"] = labels
    return manifest


def _terrain(task: Task, label: int, y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return a mask (h, w): a disc of class `label` on the next class; in classification it only colours the image."""
    disc = (y - 0.5) ** 2 + (x - 0.3 - label / 20) ** 2 < 0.1
    return np.where(disc, label, (label + 1) % len(task.classes))


def _clean(task: Task, manifest: pd.DataFrame) -> pd.DataFrame:
    reason = pd.Series("", index=manifest.index)
    reason[2:7] = "repeated_image"
    reason[10] = "near_duplicate"
    cleaned = manifest.assign(keep=reason == "", reason=reason, duplicate_of=NO_TWIN)
    cleaned.loc[10, "duplicate_of"] = 9
    planted = None if task.dense else pd.DataFrame({"id": manifest["id"], "defect": reason})
    files.write_table(paths.clean_manifest(task.name), cleaned)
    files.write_json(paths.cleaning(task.name), decide.summarise(cleaned, planted))
    return cleaned


def _balance(task: Task, cleaned: pd.DataFrame) -> None:
    kept = cleaned[cleaned["keep"]].drop(columns=["keep", "reason", "duplicate_of"])
    split = np.array(_SPLITS)[np.arange(len(kept)) % 3]
    fold = np.where(split == "test", -1, np.arange(len(kept)) % 5)
    balanced = kept.assign(split=split, fold=fold, group=np.arange(len(kept)) // 6 * 3 + np.arange(len(kept)) % 3)
    files.write_table(paths.balance_manifest(task.name), balanced)
    splits = {name: _split(task, balanced[balanced["split"] == name]) for name in _SPLITS}
    weights = [0.0 if k == task.background else 1.0 for k in range(len(task.classes))]
    files.write_json(paths.balance(task.name), {"class_weights": weights, "splits": splits})


def _split(task: Task, rows: pd.DataFrame) -> dict[str, Any]:
    counts = task.class_counts(rows).sum(axis=0).tolist()
    classes = dict(zip(task.classes, counts, strict=True))
    return {"images": len(rows), "groups": rows["group"].nunique(), "classes": classes}


def _validation(task: Task, cleaned: pd.DataFrame) -> None:
    held = {"table": "manifest", "name": "ids count up", "severity": "fatal", "success": True, "rows": len(cleaned)}
    failed = {**held, "name": "no image twice", "severity": "recorded", "success": False, "unexpected_count": 5}
    failed["examples"] = [{"row": "image 2", "value": "<hash>"}]
    for path, suite, found in (
        (paths.validation, "raw", [held, failed]),
        (paths.validation_cleaned, "cleaned", [held]),
    ):
        rows, success = len(cleaned), len(found) == 1
        summary = {"suite": suite, "rows": rows, "success": success, "expectations": found}
        files.write_json(path(task.name), summary)


def outputs() -> str:
    """Return the hash of everything that `report` writes."""
    names = params.load().task_names
    kinds = (paths.report, paths.ablation_csv, paths.ablation_markdown)
    return file_hash(*(path(name) for name in names for path in kinds))
