"""One trial of a search: a short training on a part of the training images, scored on the validation split."""

import dataclasses
import logging
import shutil
from collections.abc import Callable

from terracyte import params, tasks
from terracyte.compute import Ask
from terracyte.core import files, forms, paths, quiet
from terracyte.core.errors import UnusableFileError
from terracyte.core.hashing import digest, file_hash
from terracyte.params import Params
from terracyte.params.row import data_hash
from terracyte.params.search_space import Values
from terracyte.tune.study import Outcome, Study

Report = Callable[[int, float], None]


@dataclasses.dataclass(frozen=True)
class TrialJob:
    """A trial of a task's search.

    Attributes:
        task: whose search.
        study: its name.
        number: of the job.
        values: to be tried, of the searched keys.
    """

    task: str
    study: str
    number: int
    values: Values


@dataclasses.dataclass(frozen=True)
class ConfirmationJob:
    """Values to be trained again with another seed.

    Attributes:
        task: whose search.
        study: its name.
        whose: reference or winner.
        values: of the searched keys.
        seed: of the training.
    """

    task: str
    study: str
    whose: str
    values: Values
    seed: int


class PrunedError(Exception):
    """A trial is not worth further epochs."""


def open_study(settings: Params, task: str) -> Study:
    """The study of a task's search; another variant, space, pruner, seed or data is another study."""
    tune, backbone = settings.tune[task], paths.backbone(settings.tune[task].variant)
    parts = {
        "config": dataclasses.asdict(settings.trial(task, {})),
        "space": {key: dimension.declared() for key, dimension in tune.space.items()},
        "order": list(tune.space),
        "seed": tune.seed,
        "pruner": tune.pruner,
        "share": tune.share,
        "data": data_hash(task),
        "weights": file_hash(backbone) if backbone else "",
    }
    return Study(f"{task}-{digest(parts)[:12]}", tune, reference_values(settings, task), settings.compute.trials)


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
    settings = params.load()

    def report(epoch: int, score: float) -> None:
        if ask((epoch, score)):
            raise PrunedError

    seed, name = settings.tune[job.task].seed, f"{job.study}-{job.number}"
    try:
        return Outcome(state="complete", score=_train(settings, job.task, job.values, seed, name, report))
    except PrunedError:
        return Outcome(state="pruned")
    except (OSError, UnusableFileError):
        raise
    except Exception as error:  # a network too large, a loss that is not finite, …: the search goes on
        return Outcome(state="failed", failure=" ".join((str(error) or type(error).__name__).split())[:300])


def confirm(job: ConfirmationJob, ask: Ask) -> float:
    """Train values with another seed; the score.

    Raises:
        InputError: the training fails.
    """
    name = f"{job.study}-{job.whose}-{job.seed}"
    return _train(params.load(), job.task, job.values, job.seed, name, lambda epoch, score: None)


def _train(settings: Params, task_name: str, values: Values, seed: int, name: str, report: Report) -> float:
    config = settings.trial(task_name, values)
    # each trial is a network of its own, and TensorFlow advises against tracing so many
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    with quiet.importing_keras():
        from terracyte.train.batches import part, read_training
        from terracyte.train.fit import Fitting
    tune, task = settings.tune[task_name], tasks.make(task_name, settings)
    selection, checkpoint = f"val_{task.selection}", paths.CHECKPOINTS / name
    training, validation = read_training(task, config, seed)
    try:
        fitted = Fitting(
            label=f"trial {name}",
            config=config,
            training=part(training, tune.share),
            validation=validation,
            class_weights=files.read_json(paths.balance(task_name), {"class_weights": [forms.NUMBER]})["class_weights"],
            pretrained=paths.backbone(tune.variant),
            seed=seed,
            checkpoint=checkpoint,
            on_epoch=lambda epoch, scores: report(epoch, round(scores[selection], 6)),
        ).run()
    finally:
        # a process that is killed leaves it behind, for the one that goes on
        shutil.rmtree(checkpoint, ignore_errors=True)
    return round(fitted.scores[selection], 6)
