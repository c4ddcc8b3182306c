"""Search better values for a task's reference: run trials, then confirm the best one with fresh seeds."""

import dataclasses
import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from tqdm import tqdm

from terracyte import compute, params, tasks
from terracyte.core import files, paths
from terracyte.core.errors import InputError, UnusableFileError
from terracyte.params import Params
from terracyte.params.search_space import REFERENCE, WINNER
from terracyte.train import inputs
from terracyte.tune import trial
from terracyte.tune.study import Outcome, RunningTrial, Study, Trial, best_of
from terracyte.tune.trial import ConfirmationJob, TrialJob

Record = dict[str, Any]

# Form of those parts of an outcome file that the search itself reads.
_OUTCOME = {"study": str, "trials": list, "confirmation": {"seeds": list}, "values": dict}


def search(settings: Params, task: str) -> Record:
    """Run a task's search, or what is left of it.

    Returns:
        `values`: the values that replace the reference's, empty if those stay; `chosen`: reference or winner; `best`:
        the best trial; `confirmation`: scores of both with fresh seeds (None for a training that failed) and the
        `failures`, if any; `importances`; `trials`; and the search's settings. It holds no times.

    Raises:
        InputError: another process is searching, no trial completes, a confirmation's process died repeatedly, the
            storage cannot be used, or what trials depend on was changed during the search.
    """
    tune = settings.tune[task]
    if not tune.trials:
        return {"variant": tune.variant, "trials": [], "chosen": REFERENCE, "values": {}}
    if (known := _known(settings, task)) is not None:
        return known
    with _exclusive(task):
        study = trial.open_study(settings, task)
        _run_trials(settings, task, study)
        trials = study.trials()
        best = best_of(trials)
        if best is None:
            other = "all were pruned" if trials else "the time limit passed before the first began; raise 'minutes'"
            failure = next((each.failure for each in trials if each.failure), other)
            raise InputError(f"tune.{task}: none of {len(trials)} trials got a score: {failure}")
        confirmation = _confirm(settings, task, study, best)
    _check_unchanged(settings, task, study)
    better = _is_confirmed(confirmation)
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


def _known(settings: Params, task: str) -> Record | None:
    """Return the outcome of this same search if `metrics/` has it, complete; else None. Clones get it by git; their
    processors may round differently, and a different outcome would make all rows stale."""
    try:
        record: Record = files.read_json(paths.tuning(task), _OUTCOME)
    except UnusableFileError:
        return None
    tune = settings.tune[task]
    is_whole = len(record["trials"]) == tune.trials and len(record["confirmation"]["seeds"]) in (0, tune.confirm)
    return record if is_whole and record["study"] == trial.study_name(settings, task) else None


def _run_trials(settings: Params, task: str, study: Study) -> None:
    """Run the pending trials, beginning none after the time limit, and record their outcomes."""
    tune, where = settings.tune[task], dataclasses.replace(settings.compute, workers=settings.compute.trials)
    pending = study.pending(tune.trials)
    running: dict[int, RunningTrial] = {}
    start = time.monotonic()

    def jobs() -> Iterator[TrialJob]:
        for number in pending:
            if tune.minutes is not None and time.monotonic() - start >= 60 * tune.minutes:
                return
            running[number] = study.begin(number)
            tried = trial.training(settings, task, running[number].values, tune.seed, f"{study.name}-{number}")
            yield TrialJob(number, tried)

    def should_prune(job: TrialJob, epoch: tuple[int, float]) -> bool:
        asking = running.get(job.number)
        return asking is None or asking.should_prune(*epoch)  # a question may arrive after its job was given up

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


def _confirm(settings: Params, task: str, study: Study, best: Trial) -> Record:
    """Return the scores of the reference and of the best trial's values, trained again with seeds that no trial had."""
    if best.number == 0:
        return {"seeds": [], REFERENCE: [], WINNER: []}
    first, number = settings.tune[task].seed + 1, settings.tune[task].confirm
    compared = {
        REFERENCE: ("reference", trial.reference_values(settings, task)),
        WINNER: (f"trial-{best.number}", best.values),
    }
    jobs = [
        ConfirmationJob(whose, trial.training(settings, task, values, seed, f"{study.name}-{name}-seed-{seed}"))
        for seed in range(first, first + number)
        for whose, (name, values) in compared.items()
    ]
    _run_confirmations(settings, task, study, jobs)
    found = {(job.whose, job.training.seed): study.remembered(job.training.name) for job in jobs}
    scores = {
        each: [None if isinstance(value, str) else value for (whose, _), value in found.items() if whose == each]
        for each in compared
    }
    failures = {f"{whose} seed {seed}": value for (whose, seed), value in found.items() if isinstance(value, str)}
    seeds = [float(seed) for seed in range(first, first + number)]
    return {"seeds": seeds, **scores, **({"failures": failures} if failures else {})}


def _run_confirmations(settings: Params, task: str, study: Study, jobs: list[ConfirmationJob]) -> None:
    """Run the trainings whose results the study does not hold yet, and store their results there."""
    left = [job for job in jobs if study.remembered(job.training.name) is None]
    with tqdm(total=len(left), desc=f"confirm {task}", unit="training", disable=None) as bar:
        for job, result in compute.run(trial.confirm, left, settings.compute, _inputs(settings, task)):
            if isinstance(result, compute.Lost):  # says nothing about the values: both networks have the same size
                raise InputError(f"tune.{task}: {job.whose} with seed {job.training.seed}: {result}")
            study.remember(job.training.name, result.failure if result.score is None else result.score)
            bar.update()


def _is_confirmed(confirmation: Record) -> bool:
    """Return whether the winner wins again: every training has a score, and the winner's mean is higher."""
    if not confirmation["seeds"] or "failures" in confirmation:
        return False
    return bool(np.mean(confirmation[WINNER]) > np.mean(confirmation[REFERENCE]))


def _check_unchanged(settings: Params, task: str, study: Study) -> None:
    """Check that the search's inputs are unchanged: DVC records those at its end as what the result is made from.

    Raises:
        InputError: settings, data or pretrained weights were changed since the search began.
    """
    now = params.load()
    if now.tune.get(task) != settings.tune[task] or trial.study_name(now, task) != study.name:
        raise InputError(
            f"tune.{task}: params.yaml, experiment.yaml or data were changed during the search: run it again "
            "(finished trials are kept, and used again for the same settings and data)"
        )


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
    """Let one process at a time hand out trials: a second one would take running trials for those of a killed one."""
    paths.STUDIES.mkdir(parents=True, exist_ok=True)
    with (paths.STUDIES / f"{task}.lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"tune.{task}: another process is already searching: wait for it, or stop it") from error
        yield
