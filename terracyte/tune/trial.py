"""One trial of a search: a short training on a part of the training images, scored on the validation split."""

import dataclasses
import logging
import shutil
from collections.abc import Callable

from terracyte import tasks
from terracyte.compute import Ask
from terracyte.core import files, forms, paths, quiet
from terracyte.core.errors import UnusableFileError
from terracyte.core.hashing import TRAINING, code_hash, digest, file_hash
from terracyte.params import Config, Params, TaskSpec
from terracyte.params.row import data_hash
from terracyte.params.search_space import Values
from terracyte.tune.study import Outcome, Study

Report = Callable[[int, float], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """What a process trains: all that it needs of params.yaml, which may be edited while a search runs.

    Attributes:
        name: of its checkpoint and in messages; no other training of the study has it.
        task: whose search.
        spec: what the task is.
        variant: whose pretrained weights it starts from.
        config: the resolved configuration.
        share: of the training images, 0-1.
        seed: of the training.
    """

    name: str
    task: str
    spec: TaskSpec
    variant: str
    config: Config
    share: float
    seed: int


@dataclasses.dataclass(frozen=True)
class TrialJob:
    """A trial of a task's search.

    Attributes:
        number: of the job.
        training: what it tries.
    """

    number: int
    training: Training


@dataclasses.dataclass(frozen=True)
class ConfirmationJob:
    """Values to be trained again with another seed.

    Attributes:
        whose: reference or winner.
        training: with that seed.
    """

    whose: str
    training: Training


class PrunedError(Exception):
    """A trial is not worth further epochs."""


def open_study(settings: Params, task: str) -> Study:
    """The study of a task's search."""
    name, start = study_name(settings, task), reference_values(settings, task)
    return Study(name, settings.tune[task], start, settings.compute.trials)


def study_name(settings: Params, task: str) -> str:
    """It stands for all that trials depend on: task, variant, space, pruner, seed, data and code."""
    tune, backbone = settings.tune[task], paths.backbone(settings.tune[task].variant)
    parts = {
        "spec": dataclasses.asdict(settings.tasks[task]),
        "config": dataclasses.asdict(settings.trial(task, {})),
        "space": {key: dimension.declared() for key, dimension in tune.space.items()},
        "order": list(tune.space),
        "seed": tune.seed,
        "pruner": tune.pruner,
        "share": tune.share,
        "data": data_hash(task),
        "weights": file_hash(backbone) if backbone else "",
        "code": code_hash(*TRAINING),
    }
    return f"{task}-{digest(parts)[:12]}"


def training(settings: Params, task: str, values: Values, seed: int, name: str) -> Training:
    """The training of values of the searched keys, as the settings are now."""
    tune = settings.tune[task]
    return Training(
        name=name,
        task=task,
        spec=settings.tasks[task],
        variant=tune.variant,
        config=settings.trial(task, values),
        share=tune.share,
        seed=seed,
    )


def reference_values(settings: Params, task: str) -> dict[str, object]:
    """The reference's values of the searched keys, without those that its own values switch off."""
    reference = settings.reference[task]
    space = settings.tune[task].space
    return {key: reference[key] for key, dimension in space.items() if dimension.matters(reference)}


def run(job: TrialJob, ask: Ask) -> Outcome:
    """Train, and ask after each epoch whether to prune the trial; a failure of the network is an outcome, too.

    Raises:
        OSError, UnusableFileError: the disk is full, or a file damaged: that says nothing about what was tried.
    """

    def report(epoch: int, score: float) -> None:
        if ask((epoch, score)):
            raise PrunedError

    return _outcome(job.training, report)


def confirm(job: ConfirmationJob, ask: Ask) -> Outcome:
    """Train values with another seed.

    Raises:
        OSError, UnusableFileError: see `run`.
    """
    return _outcome(job.training, lambda epoch, score: None)


def _outcome(training: Training, report: Report) -> Outcome:
    try:
        return Outcome(state="complete", score=_train(training, report))
    except PrunedError:
        return Outcome(state="pruned")
    except (OSError, UnusableFileError):
        raise
    except Exception as error:  # a network too large, a loss that is not finite, …: the search goes on
        return Outcome(state="failed", failure=" ".join((str(error) or type(error).__name__).split())[:300])


def _train(training: Training, report: Report) -> float:
    # each trial is a network of its own, and TensorFlow advises against tracing so many
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    with quiet.importing_keras():
        from terracyte.train.batches import part, read_training
        from terracyte.train.fit import Fitting
    task = tasks.of(training.task, training.spec)
    selection, checkpoint = f"val_{task.selection}", paths.CHECKPOINTS / training.name
    images, validation = read_training(task, training.config, training.seed)
    weights = files.read_json(paths.balance(task.name), {"class_weights": [forms.NUMBER]})["class_weights"]
    try:
        fitted = Fitting(
            label=f"trial {training.name}",
            config=training.config,
            training=part(images, training.share),
            validation=validation,
            class_weights=weights,
            pretrained=paths.backbone(training.variant),
            seed=training.seed,
            checkpoint=checkpoint,
            on_epoch=lambda epoch, scores: report(epoch, round(scores[selection], 6)),
        ).run()
    finally:
        # a process that is killed leaves it behind, for the one that goes on
        shutil.rmtree(checkpoint, ignore_errors=True)
    return round(fitted.scores[selection], 6)
