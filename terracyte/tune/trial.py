"""One trial of a search: a short training on a part of the training images, scored on the validation images."""

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
    """One training, with all that its process needs of params.yaml, which may be edited while a search runs.

    Attributes:
        name: name of the training in messages and of its checkpoint, unique in the study.
        task: name of the task that is searched.
        spec: the task's description in params.yaml.
        variant: the variant whose pretrained weights the training starts from.
        config: the resolved configuration.
        share: share of the training images, 0-1.
        seed: seed of the training.
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
        number: the job's number.
        training: the training of the values it tries.
    """

    number: int
    training: Training


@dataclasses.dataclass(frozen=True)
class ConfirmationJob:
    """Values to be trained again with another seed.

    Attributes:
        whose: reference or winner.
        training: the training with that seed.
    """

    whose: str
    training: Training


class PrunedError(Exception):
    """A trial is not worth further epochs."""


def open_study(settings: Params, task: str) -> Study:
    """Open the study of a task's search, or create it."""
    name, start = study_name(settings, task), reference_values(settings, task)
    return Study(name, settings.tune[task], start, settings.compute.trials)


def study_name(settings: Params, task: str) -> str:
    """Return the task's name with a hash of all that trials depend on: task, configuration, space, seed, pruner, share,
    data, pretrained weights and code."""
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
    """Return the training of values of the searched keys under the given settings."""
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
    """Return the reference's values of the searched keys, without keys whose condition (`when`) it does not meet."""
    reference = settings.reference[task]
    space = settings.tune[task].space
    return {key: reference[key] for key, dimension in space.items() if dimension.matters(reference)}


def run(job: TrialJob, ask: Ask) -> Outcome:
    """Train, and ask after each epoch whether to prune the trial; a training that fails has the outcome `failed`.

    Raises:
        OSError, UnusableFileError: the disk is full or a file damaged, which says nothing about the tried values.
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
    # each trial traces a network of its own, and TensorFlow warns of tracing too often
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
        # a killed process leaves its checkpoint behind, from which another one resumes
        shutil.rmtree(checkpoint, ignore_errors=True)
    return round(fitted.scores[selection], 6)
