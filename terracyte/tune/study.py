"""The record of a search in Optuna: its trials, what to try next, what to prune. No other module imports optuna."""

import dataclasses
import fcntl
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote

import numpy as np

from terracyte.core import paths
from terracyte.core.errors import InputError
from terracyte.params.search_space import Dimension, Tune, Values

if TYPE_CHECKING:
    import optuna
    from optuna.storages.journal import JournalStorage

STORAGE = "TERRACYTE_STUDIES"  # the environment variable with which users choose a database for all studies

State = Literal["complete", "pruned", "failed"]
_JOB, _FAILURE = "job", "failure"  # user attributes of a trial
_COPYING = "copying"  # user attribute of a study: true while it is an incomplete copy
_DIGITS = 4  # significant digits of a searched number, decimals of an importance
_STARTUP_TRIALS = 5  # the median prunes nothing before so many trials are complete


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """A finished trial.

    Attributes:
        number: 0 is the reference.
        state: complete, pruned (ended early, as hopeless), or failed.
        values: values of the searched keys, by key.
        score: validation score of the trained model, higher is better; for a pruned trial that of its last epoch, for
            a failed one None.
        epochs: validation score after each epoch.
        failure: why it failed; "" if it did not.
    """

    number: int
    state: State
    values: Mapping[str, object]
    score: float | None
    epochs: tuple[float, ...]
    failure: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of a trial.

    Attributes:
        state: see `Trial`.
        score: validation score of a complete trial, else None.
        failure: why the trial failed; "" if it did not.
    """

    state: State
    score: float | None = None
    failure: str = ""


class RunningTrial:
    """A trial under way.

    Attributes:
        values: the values to try, by key.
    """

    def __init__(self, study: "optuna.Study", trial: "optuna.Trial", values: dict[str, object]) -> None:
        self.values = values
        self._study, self._trial = study, trial
        self._reported = set(study.trials[trial.number].intermediate_values)

    def should_prune(self, epoch: int, score: float) -> bool:
        """Record an epoch's score; return whether the trial is hopeless compared with earlier ones.

        Args:
            epoch: counted from 1; an epoch that was recorded before the trial's process died is not recorded again.
            score: validation score after the epoch.
        """
        with _storage_errors():
            if epoch not in self._reported:
                self._trial.report(score, epoch)
                self._reported.add(epoch)
            return self._trial.should_prune()

    def end(self, outcome: Outcome) -> None:
        """Record the trial's outcome."""
        import optuna

        states = optuna.trial.TrialState
        state = {"complete": states.COMPLETE, "pruned": states.PRUNED, "failed": states.FAIL}[outcome.state]
        with _storage_errors():
            if outcome.failure:
                self._trial.set_user_attr(_FAILURE, outcome.failure)
            self._study.tell(self._trial, outcome.score, state)


class Study:
    """A search that resumes where it was interrupted.

    A job is a numbered trial that may not have begun yet. The same job always leads to the same trial, so that a trial
    of a killed process is resumed.

    Args:
        name: two studies with one name are the same study, so it must identify everything that trials depend on.
        tune: search space, seed and pruner.
        start: the reference's values of the space's keys, which the first trial tries.
        workers: how many trials run at a time. With one, a search takes the same course each time, whether it was
            killed and resumed or not.
    """

    def __init__(self, name: str, tune: Tune, start: Values, workers: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.name, self._tune, self._start, self._workers = name, tune, start, workers
        with _storage_errors():
            self._study = optuna.create_study(
                study_name=name,
                storage=_storage(name),
                direction="maximize",
                pruner=_pruner(tune.pruner),
                load_if_exists=True,
            )

    def pending(self, trials: int) -> list[int]:
        """Return the jobs below `trials` that have no finished trial."""
        with _storage_errors():
            known = self._study.get_trials(deepcopy=False)
        done = {each.user_attrs.get(_JOB) for each in known if each.state.is_finished()}
        return [job for job in range(trials) if job not in done]

    def begin(self, job: int) -> RunningTrial:
        """Choose the values that a job tries, or resume its trial if a killed process had begun it.

        Args:
            job: the job's number; 0 is the reference.
        """
        with _storage_errors():
            trial = self._ask(job)
            values: dict[str, object] = {}
            for place, (key, dimension) in enumerate(self._tune.space.items()):
                if dimension.matters({**self._start, **values}):
                    self._study.sampler = _sampler(self._tune.seed, job, place, self._workers)
                    values[key] = self._tried(key, _suggest(trial, key, dimension))
            return RunningTrial(self._study, trial, values)

    def trials(self) -> list[Trial]:
        """Return the finished trials within the budget, by number, without those of an earlier, larger budget."""
        return [self._trial(each) for each in self._finished()]

    def importances(self) -> dict[str, float]:
        """Return how much each key decides whether a trial is among the best (PED-ANOVA, arXiv 2304.10255); sums to 1.

        Empty if fewer than 4 trials are complete, if no key varies among them, or if their scores are all alike.
        """
        import optuna

        complete = [trial for trial in self.trials() if trial.state == "complete"]
        keys = [key for key in self._tune.space if len({repr(trial.values.get(key)) for trial in complete}) > 1]
        if len(complete) < 4 or not keys:
            return {}
        counted = optuna.create_study(direction="maximize")
        counted.add_trials(self._finished())
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            try:
                found = optuna.importance.get_param_importances(counted)
            except UserWarning:  # Optuna cannot tell the best trials apart, and would call all keys equal
                return {}
        return {key: round(float(found[key]), _DIGITS) for key in keys if key in found}

    def remember(self, name: str, value: float | str) -> None:
        """Store a number or a text under a name in the study."""
        with _storage_errors():
            self._study.set_user_attr(name, value)

    def remembered(self, name: str) -> float | str | None:
        """Return what `remember` stored under the name; None if nothing."""
        with _storage_errors():
            value: float | str | None = self._study.user_attrs.get(name)
        return value

    def _finished(self) -> list["optuna.trial.FrozenTrial"]:
        with _storage_errors():
            found = self._study.get_trials(deepcopy=False)
        done = [each for each in found if each.state.is_finished() and _JOB in each.user_attrs]
        return [each for each in done if each.number < self._tune.trials]

    def _ask(self, job: int) -> "optuna.Trial":
        """Return the job's trial: the one that a killed process left, or a new one."""
        import optuna

        ours = [each for each in self._study.get_trials(deepcopy=False) if each.user_attrs.get(_JOB) == job]
        running = next((each for each in ours if each.state == optuna.trial.TrialState.RUNNING), None)
        if running is not None:
            return optuna.Trial(self._study, running._trial_id)
        if not ours:
            # creates the trial together with its job number, and the reference's values: a kill cannot come in between
            self._study.enqueue_trial(dict(self._start) if job == 0 else {}, user_attrs={_JOB: job})
        return self._study.ask()

    def _tried(self, key: str, found: object) -> object:
        """Round a drawn number to few digits, as people would write it, within its bounds; return choices and the
        reference's own values unchanged."""
        dimension = self._tune.space[key]
        if dimension.choices is not None or not isinstance(found, float) or found == self._start.get(key):
            return found
        low, high = dimension.bounds
        return min(max(float(f"{found:.{_DIGITS}g}"), low), high)

    def _trial(self, found: "optuna.trial.FrozenTrial") -> Trial:
        import optuna

        states: dict[optuna.trial.TrialState, State] = {
            optuna.trial.TrialState.COMPLETE: "complete",
            optuna.trial.TrialState.PRUNED: "pruned",
            optuna.trial.TrialState.FAIL: "failed",
        }
        failed = found.state == optuna.trial.TrialState.FAIL
        return Trial(
            number=found.number,
            state=states[found.state],
            values={key: self._tried(key, found.params[key]) for key in self._tune.space if key in found.params},
            score=None if failed or found.value is None else float(found.value),
            epochs=tuple(float(found.intermediate_values[epoch]) for epoch in sorted(found.intermediate_values)),
            failure=str(found.user_attrs.get(_FAILURE, "")),
        )


def _suggest(trial: "optuna.Trial", key: str, dimension: Dimension) -> object:
    if dimension.choices is not None:
        return trial.suggest_categorical(key, dimension.choices)
    low, high = dimension.bounds
    return trial.suggest_float(key, low, high, log=dimension.scale == "log")


def _sampler(seed: int, job: int, place: int, workers: int) -> "optuna.samplers.BaseSampler":
    """Return a tree-structured Parzen estimator (Bergstra et al., NIPS 2011), seeded anew for each value of each job.

    So a choice depends only on the finished trials (with several workers, also on the running ones), not on which
    process makes it or what that process did before: a killed one may have chosen some of the job's values already.

    Args:
        seed: seed of the search.
        job: the job's number.
        place: position of the value's key in the space.
        workers: how many trials run at a time.
    """
    import optuna

    own = int(np.random.SeedSequence([seed, job, place]).generate_state(1)[0])
    return optuna.samplers.TPESampler(seed=own, constant_liar=workers > 1)


def _pruner(name: str) -> "optuna.pruners.BasePruner":
    import optuna

    if name == "hyperband":
        return optuna.pruners.HyperbandPruner()
    if name == "median":
        return optuna.pruners.MedianPruner(_STARTUP_TRIALS)
    return optuna.pruners.NopPruner()


def _storage(name: str) -> "optuna.storages.BaseStorage":
    """Return the user's database, after copying this machine's study into it if needed, or else a journal file.

    Several processes of one machine can write to a journal safely.
    """
    import optuna

    url, journal = os.environ.get(STORAGE), paths.STUDIES / f"{name}.journal"
    if not url:
        return _journal(journal)
    try:
        database = optuna.storages.RDBStorage(url)
    except Exception as error:  # from SQLAlchemy, Optuna, the driver or Python, by what is wrong with the address
        raise _unusable(error) from error
    local = _journal(journal) if journal.exists() else None
    known = local is not None and name in optuna.get_all_study_names(local)
    _take_half_away(name, database, known)
    if local is not None and known and name not in optuna.get_all_study_names(database):
        _copy(optuna.load_study(study_name=name, storage=local), database)
    return database


def _copy(study: "optuna.Study", database: "optuna.storages.BaseStorage") -> None:
    """Copy a study into a database, marked as incomplete until all is copied: an error or a kill may interrupt it."""
    import optuna

    copy = optuna.create_study(study_name=study.study_name, storage=database, direction="maximize")
    copy.set_user_attr(_COPYING, True)
    for key, value in study.user_attrs.items():
        copy.set_user_attr(key, value)
    copy.add_trials(study.get_trials(deepcopy=False))
    copy.set_user_attr(_COPYING, False)


def _take_half_away(name: str, database: "optuna.storages.BaseStorage", known: bool) -> None:
    """Delete an incomplete copy of a study; one with neither mark nor trials counts, too, if `known` here."""
    import optuna

    if name not in optuna.get_all_study_names(database):
        return
    found = optuna.load_study(study_name=name, storage=database)
    if found.user_attrs.get(_COPYING, known and not found.get_trials(deepcopy=False)):
        optuna.delete_study(study_name=name, storage=database)


def _journal(file: Path) -> "JournalStorage":
    """Open and read the journal of a study on this machine.

    An incomplete last line, which a kill may leave, is cut off first: Optuna would append the next line to it.

    Raises:
        InputError: the journal is damaged.
    """
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+b") as stream:
        stream.seek(0)
        stream.truncate(stream.read().rfind(b"\n") + 1)
    lock: Any = _JournalLock(file)  # it has the interface of Optuna's locks
    try:
        return JournalStorage(JournalFileBackend(str(file), lock))
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise InputError(f"{file} is damaged ({error}): move it away, and the search starts over") from error


class _JournalLock:
    """A lock that lets one process at a time write to a journal; the operating system releases it if its process dies.

    Optuna's own lock is a symbolic link, which a killed process leaves behind: the next one would wait 30 s for it.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def acquire(self) -> bool:
        """Wait until no other process holds the lock."""
        stream = self._file.open("rb")
        fcntl.flock(stream, fcntl.LOCK_EX)
        self._stream = stream
        return True

    def release(self) -> None:
        """Let the next process write."""
        self._stream.close()


@contextmanager
def _storage_errors() -> Iterator[None]:
    """Turn errors of the storage into an InputError, whose message is one line."""
    import sqlalchemy.exc
    from optuna.exceptions import StorageInternalError

    try:
        yield
    except (StorageInternalError, sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        raise _unusable(error) from error


def _unusable(error: Exception) -> InputError:
    message = " ".join(_without_password(str(error)).split())[:200]
    return InputError(
        f"the storage of studies cannot be used ({message}): check the environment variable {STORAGE}, "
        f"which needs a database of its own, or unset it to keep studies in {paths.STUDIES}"
    )


def _without_password(message: str) -> str:
    """Mask the parts of the database's password in a message, which may quote the whole address, or a part of the
    password that was taken for something else: passwords may hold an @ or a / that should be written as %40 or %2F."""
    spans = re.findall(r"://[^:/@]*:(.*)@|[?&]\w*password=([^&]*)", os.environ.get(STORAGE, ""))
    secrets = [secret for span in spans for written in span for secret in (written, unquote(written))]
    parts = {part for secret in secrets for part in re.split("[/@:?#=&]", secret)} - {""}
    for part in sorted(parts, key=len, reverse=True):
        message = message.replace(part, "***")
    return message


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """Return the complete trial with the highest score, the first one among equals; None if no trial is complete."""
    complete = [trial for trial in trials if trial.state == "complete" and trial.score is not None]
    return max(complete, key=lambda trial: (trial.score, -trial.number), default=None)
