"""Trains one row of the tables, once per seed: row and data in; models, curves and records out."""

import dataclasses
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from terracyte import compute, tasks, tracking
from terracyte.compute import Ask
from terracyte.core import files, forms, metric_files, paths
from terracyte.core.errors import InputError
from terracyte.core.hashing import code_hash
from terracyte.models.precision import is_slow_here
from terracyte.models.serialization import read_model, write_model
from terracyte.params import Compute
from terracyte.params.row import Identity, Row, data_hash
from terracyte.tasks.task import Task
from terracyte.train import checkpoints, data_parallel, inputs
from terracyte.train.batches import read_training
from terracyte.train.checkpoints import Epoch
from terracyte.train.fit import Fitted, Fitting

# The packages that decide what a training gives: what dvc.yaml names as its dependencies.
PACKAGES = ("images", "metrics", "models", "tasks", "train")

# Digits after the point in files: float noise stays out of diffs.
_DIGITS = 6


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """A training that may run elsewhere.

    Attributes:
        identity: who the run is.
        title: what its variant shows, in a few words.
        data_parallel: whether all devices share out each batch.
    """

    identity: Identity
    title: str
    data_parallel: bool = False

    @property
    def label(self) -> str:
        """What messages call it."""
        return f"{self.identity.variant} seed {self.identity.seed}"


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


def train_row(row: Row, title: str, settings: Compute) -> None:
    """Train a row with each of its seeds and write its models, curves and records.

    Nothing is written before the last seed is done; until then each seed's progress lies in
    `data/checkpoints/<variant>-<fingerprint>`, where a restarted training goes on. On a cluster the seeds are trained
    at the same time, each from its start.

    Args:
        row: what to train.
        title: what it shows, in a few words; for MLflow.
        settings: where to train.

    Raises:
        InputError: the data are not those of the row, or a training diverges.
    """
    _check_data(row)
    jobs = [Job(identity=each, title=title, data_parallel=settings.data_parallel) for each in row.identities]
    data_parallel.join()
    if data_parallel.rank() > 0:
        _assist(jobs)
        return
    for precision in sorted({start.config.precision for start in row.starts}):
        if is_slow_here(precision):
            print(
                f"warning: {row.variant}: this processor imitates {precision}: precision: float32 is faster here",
                file=sys.stderr,
            )
    trained = _on_cluster(jobs, settings) if settings.engine == "ray" else _here(jobs)
    _write(row, trained)
    for identity in row.identities:
        shutil.rmtree(checkpoints.folder(identity), ignore_errors=True)


def _check_data(row: Row) -> None:
    if data_hash(row.task) != row.data_hash:
        config = paths.config(row.task, row.variant)
        raise InputError(f"{config} is of other data: run `dvc repro configure@{row.task}`")


def _here(jobs: list[Job]) -> list[Trained]:
    """Train in this process, one seed after another; MLflow can be watched meanwhile."""
    trained: list[Trained] = []
    for job in jobs:
        # once something is trained, it is worth more than its record
        with tracking.training_run(job.identity, job.title, required=not trained) as run:
            fitted, epochs = _fit(job, run.log_epoch)
            run.log_metrics({"training_seconds": fitted.seconds})
            run.log_model(fitted.model)
        trained.append(_trained(job.identity, fitted, epochs))
    return trained


def _assist(jobs: list[Job]) -> None:
    """Take part in trainings whose results another process writes."""
    for job in jobs:
        _fit(job, lambda epoch, values: None)


def _on_cluster(jobs: list[Job], settings: Compute) -> list[Trained]:
    """Train on the cluster, all seeds at a time; MLflow has a run when its model has come home."""
    row = jobs[0].identity.row
    tracking.check(row.task)
    trained: dict[int, Trained] = {}
    needed = inputs.of_training(tasks.of(row.task, row.spec), row.variant)
    for job, result in compute.run(run, jobs, settings, needed):
        if isinstance(result, compute.Lost):
            raise InputError(f"{job.label}: {result}")
        _record_arrived(job, result)
        trained[job.identity.seed] = result
    return [trained[seed] for seed in row.seeds]


def run(job: Job, ask: Ask) -> Trained:
    """Train where the inputs are.

    Raises:
        InputError: they are others than those of the job, or the training diverges.
    """
    _check_data(job.identity.row)
    fitted, epochs = _fit(job, lambda epoch, values: None)
    return _trained(job.identity, fitted, epochs)


def _fit(job: Job, on_epoch: Callable[[int, Epoch], None]) -> tuple[Fitted, dict[int, Epoch]]:
    """The training, and its epochs as MLflow has them."""
    identity = job.identity
    task = tasks.of(identity.task, identity.row.spec)
    epochs: dict[int, Epoch] = {}

    def tell(epoch: int, values: Epoch) -> None:
        epochs[epoch] = values
        on_epoch(epoch, values)
        print(f"{job.label} epoch {epoch}:", " ".join(f"{k} {v:.4g}" for k, v in values.items()), flush=True)

    training, validation = read_training(task, identity.config, identity.seed)
    fitted = Fitting(
        label=job.label,
        config=identity.config,
        training=training,
        validation=validation,
        class_weights=files.read_json(paths.balance(task.name), {"class_weights": [forms.NUMBER]})["class_weights"],
        pretrained=paths.backbone(identity.variant, identity.member),
        seed=identity.seed,
        checkpoint=checkpoints.folder(identity),
        on_epoch=tell,
        data_parallel=job.data_parallel,
    ).run()
    return fitted, epochs


def _trained(identity: Identity, fitted: Fitted, epochs: Mapping[int, Epoch]) -> Trained:
    scores = _scores(tasks.of(identity.task, identity.row.spec))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.keras"
        write_model(file, fitted.model)
        model = file.read_bytes()
    return Trained(
        model=model,
        curve=_curve(identity, fitted, scores),
        record=_record(identity, fitted, scores),
        epochs=epochs,
        seconds=fitted.seconds,
    )


def _record_arrived(job: Job, trained: Trained) -> None:
    recording = tracking.training_run(job.identity, job.title, tracking.CLUSTER, required=False)
    with recording as run, tempfile.TemporaryDirectory() as folder:
        for epoch, values in trained.epochs.items():
            run.log_epoch(epoch, values)
        run.log_metrics({"training_seconds": trained.seconds})
        file = Path(folder) / "model.keras"
        file.write_bytes(trained.model)
        run.log_model(read_model(file))


def _write(row: Row, trained: list[Trained]) -> None:
    scores = _scores(tasks.of(row.task, row.spec))
    with files.atomic_folder(paths.models(row.task, row.variant)) as folder:
        for seed, result in zip(row.seeds, trained, strict=True):
            (folder / paths.model(row.task, row.variant, seed).name).write_bytes(result.model)
    files.write_csv(paths.curves(row.task, row.variant), pd.concat(result.curve for result in trained))
    records = {str(seed): dict(result.record) for seed, result in zip(row.seeds, trained, strict=True)}
    means = {name: round(sum(record[name] for record in records.values()) / len(records), _DIGITS) for name in scores}
    metric_files.write(paths.training(row.task, row.variant), means, records)


def _curve(identity: Identity, fitted: Fitted, scores: list[str]) -> pd.DataFrame:
    # named, because a restarted training reads its history back in another order
    names = ["loss", "val_loss", *scores]
    curve = pd.DataFrame(fitted.history)[[*names, "learning_rate"]].round(dict.fromkeys(names, _DIGITS))
    curve.insert(0, "epoch", range(1, len(curve) + 1))
    curve.insert(0, "seed", identity.seed)
    return curve


def _record(identity: Identity, fitted: Fitted, scores: list[str]) -> dict[str, Any]:
    return {
        "fingerprint": identity.fingerprint,
        "data_hash": identity.row.data_hash,
        "code": code_hash(*PACKAGES),
        "initialisation": identity.start.initialisation,
        "best_epoch": fitted.best_epoch,
        "epochs": len(fitted.history),
        "parameters": fitted.model.count_params(),
        **{name: round(fitted.scores[name], _DIGITS) for name in scores},
    }


def _scores(task: Task) -> list[str]:
    """The validation scores of an epoch: headline, the same under shift, and the one that chooses."""
    names = (task.headline, task.shift_headline, task.selection)
    return [f"val_{name}" for name in dict.fromkeys(names) if name is not None]
