"""One trial of a search: a short training on a part of the training images, scored on the validation split."""

import dataclasses
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from terracyte import files, origin, params, paths, quiet, tasks
from terracyte.identity import data_hash, digest
from terracyte.params import Params
from terracyte.space import Values
from terracyte.tuning import Study

Report = Callable[[int, float], None]


@dataclasses.dataclass(frozen=True)
class Job:
    """A trial of a task's search, by its number."""

    task: str
    number: int


@dataclasses.dataclass(frozen=True)
class Repeat:
    """Values to be tried again with another seed.

    Attributes:
        task: whose search.
        whose: reference or winner.
        values: of the searched keys.
        seed: of the training.
    """

    task: str
    whose: str
    values: Values
    seed: int


def study(settings: Params, task: str) -> Study:
    """The study of a task's search; another variant, space, pruner, seed or data is another study."""
    tune = settings.tune[task]
    parts = {
        "config": dataclasses.asdict(settings.trial(task, {})),
        "space": {key: dimension.declared() for key, dimension in tune.space.items()},
        "order": list(tune.space),
        "seed": tune.seed,
        "pruner": tune.pruner,
        "share": tune.share,
        "data": data_hash(task),
        "weights": origin.read(task, tune.variant).sha256,
    }
    return Study(f"{task}-{digest(parts)[:12]}", tune, start(settings, task), settings.compute.workers)


def start(settings: Params, task: str) -> dict[str, object]:
    """The reference's values of the searched keys, without those that its own values switch off."""
    reference = settings.reference[task]
    space = settings.tune[task].space
    return {key: reference[key] for key, dimension in space.items() if dimension.matters(reference)}


def run(job: Job) -> None:
    """Choose values, train, and record the outcome in the study."""
    settings = params.load()
    record = study(settings, job.task)
    seed = settings.tune[job.task].seed

    def objective(values: Values, report: Report) -> float:
        return _train(settings, job.task, values, seed, f"{record.name}-{job.number}", report)

    record.attempt(job.number, objective)


def repeat(job: Repeat) -> float:
    """Train the values of a trial with another seed; the score.

    Raises:
        InputError: the training fails.
    """
    settings = params.load()
    name = f"{study(settings, job.task).name}-{job.whose}-{job.seed}"
    return _train(settings, job.task, job.values, job.seed, name, lambda epoch, score: None)


def _train(settings: Params, task_name: str, values: Values, seed: int, name: str, report: Report) -> float:
    config = settings.trial(task_name, values)
    # each trial is a network of its own, and TensorFlow advises against tracing so many
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    with quiet.importing_keras():
        from terracyte.data.batches import part, read_rows
        from terracyte.fitting import Fitting
    tune, task = settings.tune[task_name], tasks.make(task_name, settings)
    selection, checkpoint = f"val_{task.selection}", _checkpoint(name)
    try:
        fitted = Fitting(
            label=f"trial {name}",
            config=config,
            training=part(read_rows(task, "train"), tune.share),
            validation=read_rows(task, "validation"),
            class_weights=files.read_json(paths.balance(task_name))["class_weights"],
            pretrained=origin.pretrained(task_name, tune.variant),
            seed=seed,
            checkpoint=checkpoint,
            on_epoch=lambda epoch, scores: report(epoch, round(scores[selection], 6)),
        ).run()
    finally:
        # a process that is killed leaves it behind, for the one that goes on
        shutil.rmtree(checkpoint, ignore_errors=True)
    return round(fitted.scores[selection], 6)


def _checkpoint(name: str) -> Path:
    return paths.CHECKPOINTS / name
