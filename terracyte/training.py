"""Trains one variant, once per seed: data and identity in, models, curves and records out."""

import shutil
from collections.abc import Mapping
from typing import Any

import pandas as pd

from terracyte import checkpoints, files, metric_files, origin, paths, tasks
from terracyte.data.batches import read_rows
from terracyte.fitting import Fitted, Fitting
from terracyte.identity import Identity
from terracyte.models.saving import write_model
from terracyte.params import Params
from terracyte.tasks.task import Task
from terracyte.tracking import LiveRun, training_run

# Digits after the point in files: float noise stays out of diffs.
_DIGITS = 6


def train_variant(settings: Params, name: str) -> None:
    """Train a variant with each seed and write its models, curves and records.

    Nothing is written before the last seed is done; until then each seed's progress lies in
    `data/checkpoints/<fingerprint>`, where a restarted training goes on.

    Raises:
        InputError: the variant is unknown, nothing was balanced or fetched, or a training diverges.
    """
    task = tasks.make(settings.variant(name).task, settings)
    identities = origin.identities(settings, name)
    fitted = {i: _train(task, i, settings.variants[name].title) for i in identities}
    _write(task, name, fitted)
    for identity in identities:
        shutil.rmtree(checkpoints.folder(identity), ignore_errors=True)


def _train(task: Task, identity: Identity, title: str) -> Fitted:
    label = f"{identity.variant} seed {identity.seed}"
    with training_run(identity, title) as run:
        fitted = Fitting(
            label=label,
            config=identity.config,
            training=read_rows(task, "train"),
            validation=read_rows(task, "validation"),
            class_weights=files.read_json(paths.balance(task.name))["class_weights"],
            pretrained=origin.pretrained(task.name, identity.variant),
            seed=identity.seed,
            checkpoint=checkpoints.folder(identity),
            on_epoch=lambda epoch, values: _tell(run, label, epoch, values),
        ).run()
        run.log_metrics({"training_seconds": fitted.seconds})
        run.log_model(fitted.model)
    return fitted


def _tell(run: LiveRun, label: str, epoch: int, values: Mapping[str, float]) -> None:
    run.log_epoch(epoch, values)
    print(f"{label} epoch {epoch}:", " ".join(f"{k} {v:.4g}" for k, v in values.items()), flush=True)


def _write(task: Task, name: str, fitted: Mapping[Identity, Fitted]) -> None:
    curves = [_curve(task, identity, result) for identity, result in fitted.items()]
    records = {str(identity.seed): _record(task, identity, result) for identity, result in fitted.items()}
    with files.atomic_folder(paths.models(task.name, name)) as folder:
        for identity, result in fitted.items():
            write_model(folder / paths.model(task.name, name, identity.seed).name, result.model)
    files.write_csv(paths.curves(task.name, name), pd.concat(curves))
    metric_files.write(paths.training(task.name, name), _headline(task, records), records)


def _curve(task: Task, identity: Identity, fitted: Fitted) -> pd.DataFrame:
    # named, because a restarted training reads its history back in another order
    names = ["loss", "val_loss", *_scores(task)]
    curve = pd.DataFrame(fitted.history)[[*names, "learning_rate"]].round(dict.fromkeys(names, _DIGITS))
    curve.insert(0, "epoch", range(1, len(curve) + 1))
    curve.insert(0, "seed", identity.seed)
    return curve


def _record(task: Task, identity: Identity, fitted: Fitted) -> dict[str, Any]:
    return {
        "fingerprint": identity.fingerprint,
        "data_hash": identity.data_hash,
        "initialisation": origin.read(task.name, identity.variant).initialisation,
        "best_epoch": fitted.best_epoch,
        "epochs": len(fitted.history),
        "parameters": fitted.model.count_params(),
        **{name: round(fitted.scores[name], _DIGITS) for name in _scores(task)},
    }


def _headline(task: Task, records: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """The validation scores, mean over the seeds."""
    return {
        name: round(sum(record[name] for record in records.values()) / len(records), _DIGITS) for name in _scores(task)
    }


def _scores(task: Task) -> list[str]:
    """The validation scores of an epoch: headline, the same under shift, and the one that chooses."""
    names = (task.headline, task.shift_headline, task.selection)
    return [f"val_{name}" for name in dict.fromkeys(names) if name is not None]
