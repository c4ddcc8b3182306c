"""Searches better values of a task's reference: trials, then a repetition of the best one with fresh seeds."""

import fcntl
import itertools
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from tqdm import tqdm

from terracyte import compute, tasks
from terracyte.core import paths
from terracyte.core.errors import InputError
from terracyte.params import Params
from terracyte.params.search_space import REFERENCE, WINNER
from terracyte.train import inputs
from terracyte.tune import study as tuning
from terracyte.tune import trial as trials
from terracyte.tune.study import Attempt, Outcome, Study, Trial
from terracyte.tune.trial import Job, Repeat

Record = dict[str, Any]


def search(settings: Params, task: str) -> Record:
    """Run what is left of a task's search.

    Returns:
        `values`: what replaces the reference's values, empty where they stay; `chosen`: reference or winner;
        `best`: the best trial; `confirmation`: scores of both with fresh seeds; `importances`; `trials`; and what the
        search was. No clock is among them.

    Raises:
        InputError: another process is searching, no trial came to a score, or the storage cannot be used.
    """
    tune = settings.tune[task]
    if not tune.trials:
        return {"variant": tune.variant, "trials": [], "chosen": REFERENCE, "values": {}}
    with _alone(task):
        study = trials.study(settings, task)
        _try(settings, task, study)
        tried = study.trials()
        best = tuning.best(tried)
        if best is None:
            failure = next((trial.failure for trial in tried if trial.failure), "all were pruned")
            raise InputError(f"tune.{task}: none of {len(tried)} trials came to a score: {failure}")
        confirmation = _confirm(settings, task, study, best)
    better = best.number > 0 and np.mean(confirmation[WINNER]) > np.mean(confirmation[REFERENCE])
    return {
        "study": study.name,
        "variant": tune.variant,
        "share": tune.share,
        "change": tune.change,
        "space": {key: dimension.declared() for key, dimension in tune.space.items()},
        "best": {"number": best.number, "score": best.score, "values": dict(best.values)},
        "confirmation": confirmation,
        "chosen": WINNER if better else REFERENCE,
        "values": dict(best.values) if better else {},
        "importances": study.importances(),
        "trials": [_entry(trial) for trial in tried],
    }


def _try(settings: Params, task: str, study: Study) -> None:
    tune = settings.tune[task]
    left = study.pending(tune.trials)
    done = tune.trials - len(left)
    under_way: dict[int, Attempt] = {}

    def begin(number: int) -> Job:
        under_way[number] = study.begin(number)
        return Job(task, study.name, number, under_way[number].values)

    def is_hopeless(job: Job, epoch: tuple[int, float]) -> bool:
        return under_way[job.number].is_hopeless(*epoch)

    jobs = map(begin, _until(tune.minutes, left))
    with tqdm(total=tune.trials, initial=done, desc=f"tune {task}", unit="trial", disable=None) as bar:
        for job, result in compute.run(trials.run, jobs, settings.compute, _inputs(settings, task), is_hopeless):
            if isinstance(result, compute.Lost):
                result = Outcome(state="failed", failure=str(result))
            under_way.pop(job.number).end(result)
            bar.update()
            best = tuning.best(study.trials())
            bar.set_postfix(best=f"{best.score:.4f}" if best else "none")


def _inputs(settings: Params, task: str) -> compute.Inputs:
    return inputs.of_training(tasks.make(task, settings), settings.tune[task].variant)


def _until(minutes: float | None, numbers: Iterable[int]) -> Iterator[int]:
    """The numbers, as long as there is time for another trial."""
    begin = time.monotonic()
    return itertools.takewhile(lambda _: minutes is None or time.monotonic() - begin < 60 * minutes, numbers)


def _confirm(settings: Params, task: str, study: Study, best: Trial) -> dict[str, list[float]]:
    """Scores of the reference and of the best trial's values, each trained again with seeds that no trial had."""
    tune = settings.tune[task]
    seeds = [tune.seed + 1 + number for number in range(tune.confirm)]
    if best.number == 0:
        return {"seeds": [], REFERENCE: [], WINNER: []}
    chosen = {REFERENCE: trials.start(settings, task), WINNER: dict(best.values)}
    names = {REFERENCE: REFERENCE, WINNER: f"trial {best.number}"}
    jobs = [
        Repeat(task, study.name, whose, values, seed)
        for seed in seeds
        for whose, values in chosen.items()
        if study.remembered(f"{names[whose]} seed {seed}") is None
    ]
    with tqdm(total=len(jobs), desc=f"confirm {task}", unit="training", disable=None) as bar:
        for job, result in compute.run(trials.repeat, jobs, settings.compute, _inputs(settings, task)):
            if isinstance(result, compute.Lost):
                raise InputError(f"tune.{task}: {job.whose} with seed {job.seed}: {result}")
            study.remember(f"{names[job.whose]} seed {job.seed}", result)
            bar.update()
    scores = {
        whose: [study.remembered(f"{name} seed {seed}") or 0.0 for seed in seeds] for whose, name in names.items()
    }
    return {"seeds": [float(seed) for seed in seeds], **scores}


def _entry(trial: Trial) -> Record:
    return {
        "number": trial.number,
        "state": trial.state,
        "score": trial.score,
        "epochs": list(trial.epochs),
        "values": dict(trial.values),
        **({"failure": trial.failure} if trial.failure else {}),
    }


@contextmanager
def _alone(task: str) -> Iterator[None]:
    """One process at a time hands out trials: what is under way belongs to it."""
    paths.STUDIES.mkdir(parents=True, exist_ok=True)
    with (paths.STUDIES / f"{task}.lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"tune.{task}: another process is searching already: wait for it, or end it") from error
        yield
