"""Trains one variant, once per seed: data and identity in, models, curves and records out."""

import dataclasses
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from keras import Model

from terracyte import compute, params, tasks, tracking
from terracyte.compute import Ask
from terracyte.configure import initialisation
from terracyte.configure.identity import Identity
from terracyte.core import files, metric_files, paths
from terracyte.core.errors import InputError
from terracyte.models.precision import is_slow_here
from terracyte.models.serialization import read_model, write_model
from terracyte.params import Params
from terracyte.tasks.task import Task
from terracyte.train import checkpoints, data_parallel
from terracyte.train import inputs as luggage
from terracyte.train.batches import read_rows
from terracyte.train.checkpoints import Epoch
from terracyte.train.fit import Fitted, Fitting

# Digits after the point in files: float noise stays out of diffs.
_DIGITS = 6


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """A training that may run elsewhere.

    Attributes:
        identity: who the run is.
        title: what its variant shows, in a few words.
    """

    identity: Identity
    title: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trained:
    """What comes of a training, wherever it ran.

    Attributes:
        model: the bytes of its file.
        curve: one row per epoch.
        record: what the training settled on.
        epochs: as MLflow has them, speed included.
        seconds: that the epochs took.
    """

    model: bytes
    curve: pd.DataFrame
    record: Mapping[str, Any]
    epochs: Mapping[int, Epoch]
    seconds: float


def train_variant(settings: Params, name: str) -> None:
    """Train a variant with each seed and write its models, curves and records.

    Nothing is written before the last seed is done; until then each seed's progress lies in
    `data/checkpoints/<variant>-<fingerprint>`, where a restarted training goes on. On a cluster the seeds are trained
    at the same time, each from its start.

    Raises:
        InputError: the variant is unknown, nothing was balanced or fetched, or a training diverges.
    """
    task = tasks.make(settings.variant(name).task, settings)
    identities = initialisation.identities(settings, name)
    jobs = [Job(identity=identity, title=settings.variants[name].title) for identity in identities]
    data_parallel.join()
    if data_parallel.number() > 0:
        # it helps the process that writes
        for identity in identities:
            _fit(identity, lambda epoch, values: None)
        return
    if is_slow_here(precision := identities[0].config.precision):
        print(
            f"warning: {name}: this processor imitates {precision}: precision: float32 is faster here", file=sys.stderr
        )
    if settings.compute.engine == "ray":
        trained = _train_elsewhere(settings, task, jobs)
    else:
        trained = {job.identity.seed: _train_here(job) for job in jobs}
    _write(task, name, {seed: trained[seed] for seed in settings.seeds})
    for identity in identities:
        shutil.rmtree(checkpoints.folder(identity), ignore_errors=True)


def _train_here(job: Job) -> Trained:
    """Train in this process; MLflow can be watched meanwhile."""
    with tracking.training_run(job.identity, job.title) as run:
        fitted, epochs = _fit(job.identity, run.log_epoch)
        run.log_metrics({"training_seconds": fitted.seconds})
        run.log_model(fitted.model)
    return _trained(job.identity, fitted, epochs)


def _train_elsewhere(settings: Params, task: Task, jobs: list[Job]) -> dict[int, Trained]:
    """Train on the cluster, by seed; MLflow has a run when its model has come home."""
    tracking.check(task.name)
    trained: dict[int, Trained] = {}
    inputs = luggage.of_training(task, jobs[0].identity.variant)
    for job, result in compute.run(run, jobs, settings.compute, inputs):
        if isinstance(result, compute.Lost):
            raise InputError(f"{_label(job.identity)}: {result}")
        try:
            _record_arrived(job, result)
        except InputError as error:
            print(f"warning: {_label(job.identity)}: {error}; the report records it", file=sys.stderr)
        trained[job.identity.seed] = result
    return trained


def run(job: Job, ask: Ask) -> Trained:
    """Train where the inputs are.

    Raises:
        InputError: they are others than those of the job, or the training diverges.
    """
    settings, identity = params.load(), job.identity
    if identity not in initialisation.identities(settings, identity.variant):
        raise InputError(f"{_label(identity)}: its inputs changed on their way: run the same command again")
    fitted, epochs = _fit(identity, lambda epoch, values: None)
    return _trained(identity, fitted, epochs)


def _fit(identity: Identity, on_epoch: Callable[[int, Epoch], None]) -> tuple[Fitted, dict[int, Epoch]]:
    """The training, and its epochs as MLflow has them."""
    settings, label = params.load(), _label(identity)
    task = tasks.make(identity.task, settings)
    epochs: dict[int, Epoch] = {}

    def tell(epoch: int, values: Epoch) -> None:
        epochs[epoch] = values
        on_epoch(epoch, values)
        print(f"{label} epoch {epoch}:", " ".join(f"{k} {v:.4g}" for k, v in values.items()), flush=True)

    fitted = Fitting(
        label=label,
        config=identity.config,
        training=read_rows(task, "train"),
        validation=read_rows(task, "validation"),
        class_weights=files.read_json(paths.balance(task.name))["class_weights"],
        pretrained=initialisation.pretrained(task.name, identity.variant),
        seed=identity.seed,
        checkpoint=checkpoints.folder(identity),
        on_epoch=tell,
        data_parallel=settings.compute.data_parallel,
    ).run()
    return fitted, epochs


def _label(identity: Identity) -> str:
    return f"{identity.variant} seed {identity.seed}"


def _trained(identity: Identity, fitted: Fitted, epochs: Mapping[int, Epoch]) -> Trained:
    task = tasks.make(identity.task, params.load())
    return Trained(
        model=_bytes(fitted.model),
        curve=_curve(task, identity, fitted),
        record=_record(task, identity, fitted),
        epochs=epochs,
        seconds=fitted.seconds,
    )


def _bytes(model: Model) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.keras"
        write_model(file, model)
        return file.read_bytes()


def _record_arrived(job: Job, trained: Trained) -> None:
    recording = tracking.training_run(job.identity, job.title, tracking.CLUSTER)
    with recording as run, tempfile.TemporaryDirectory() as folder:
        for epoch, values in trained.epochs.items():
            run.log_epoch(epoch, values)
        run.log_metrics({"training_seconds": trained.seconds})
        file = Path(folder) / "model.keras"
        file.write_bytes(trained.model)
        run.log_model(read_model(file))


def _write(task: Task, name: str, trained: Mapping[int, Trained]) -> None:
    with files.atomic_folder(paths.models(task.name, name)) as folder:
        for seed, result in trained.items():
            (folder / paths.model(task.name, name, seed).name).write_bytes(result.model)
    files.write_csv(paths.curves(task.name, name), pd.concat(result.curve for result in trained.values()))
    records = {str(seed): dict(result.record) for seed, result in trained.items()}
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
        "initialisation": initialisation.read(task.name, identity.variant).initialisation,
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
