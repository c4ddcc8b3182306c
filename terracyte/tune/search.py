"""Searches better values of a task's reference: trials, then a confirmation of the best one with fresh seeds."""

import dataclasses
import fcntl
import time
from collections.abc import Iterator
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
from terracyte.tune import trial
from terracyte.tune.study import Outcome, RunningTrial, Study, Trial, best_of
from terracyte.tune.trial import ConfirmationJob, TrialJob

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
    with _exclusive(task):
        study = trial.open_study(settings, task)
        _run_trials(settings, task, study)
        trials = study.trials()
        best = best_of(trials)
        if best is None:
            other = "all were pruned" if trials else "the time was over before one had begun"
            failure = next((each.failure for each in trials if each.failure), other)
            raise InputError(f"tune.{task}: none of {len(trials)} trials came to a score: {failure}")
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
        "trials": [_record(each) for each in trials],
    }


def _run_trials(settings: Params, task: str, study: Study) -> None:
    """Begin what is pending, as long as there is time, and record what comes of it."""
    tune, where = settings.tune[task], dataclasses.replace(settings.compute, workers=settings.compute.trials)
    pending = study.pending(tune.trials)
    running: dict[int, RunningTrial] = {}
    start = time.monotonic()

    def jobs() -> Iterator[TrialJob]:
        for number in pending:
            if tune.minutes is not None and time.monotonic() - start >= 60 * tune.minutes:
                return
            running[number] = study.begin(number)
            yield TrialJob(task, study.name, number, running[number].values)

    def should_prune(job: TrialJob, epoch: tuple[int, float]) -> bool:
        asking = running.get(job.number)
        return asking is None or asking.should_prune(*epoch)  # a question may outlive a job that was given up

    done = tune.trials - len(pending)
    with tqdm(total=tune.trials, initial=done, desc=f"tune {task}", unit="trial", disable=None) as bar:
        for job, result in compute.run(trial.run, jobs(), where, _inputs(settings, task), should_prune):
            if isinstance(result, compute.Lost):
                result = Outcome(state="failed", failure=str(result))
            running.pop(job.number).end(result)
            bar.update()
            best = best_of(study.trials())
            bar.set_postfix(best=f"{best.score:.4f}" if best else "none")


def _inputs(settings: Params, task: str) -> compute.Inputs:
    return inputs.of_training(tasks.make(task, settings), settings.tune[task].variant)


def _confirm(settings: Params, task: str, study: Study, best: Trial) -> dict[str, list[float]]:
    """Scores of the reference and of the best trial's values, each trained again with seeds that no trial had."""
    tune = settings.tune[task]
    seeds = [tune.seed + 1 + number for number in range(tune.confirm)]
    if best.number == 0:
        return {"seeds": [], REFERENCE: [], WINNER: []}
    compared = {REFERENCE: trial.reference_values(settings, task), WINNER: dict(best.values)}
    names = {REFERENCE: REFERENCE, WINNER: f"trial {best.number}"}
    jobs = [
        ConfirmationJob(task, study.name, whose, values, seed)
        for seed in seeds
        for whose, values in compared.items()
        if study.remembered(f"{names[whose]} seed {seed}") is None
    ]
    with tqdm(total=len(jobs), desc=f"confirm {task}", unit="training", disable=None) as bar:
        for job, result in compute.run(trial.confirm, jobs, settings.compute, _inputs(settings, task)):
            if isinstance(result, compute.Lost):
                raise InputError(f"tune.{task}: {job.whose} with seed {job.seed}: {result}")
            study.remember(f"{names[job.whose]} seed {job.seed}", result)
            bar.update()
    scores = {
        whose: [study.remembered(f"{name} seed {seed}") or 0.0 for seed in seeds] for whose, name in names.items()
    }
    return {"seeds": [float(seed) for seed in seeds], **scores}


def _record(finished: Trial) -> Record:
    return {
        "number": finished.number,
        "state": finished.state,
        "score": finished.score,
        "epochs": list(finished.epochs),
        "values": dict(finished.values),
        **({"failure": finished.failure} if finished.failure else {}),
    }


@contextmanager
def _exclusive(task: str) -> Iterator[None]:
    """Let one process at a time hand out trials: it would take another's running ones for those of a killed process."""
    paths.STUDIES.mkdir(parents=True, exist_ok=True)
    with (paths.STUDIES / f"{task}.lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"tune.{task}: another process is searching already: wait for it, or end it") from error
        yield
