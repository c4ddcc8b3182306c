"""Optuna, the record of a search: its trials, what to try next, and which to prune. The only importer of optuna."""

import dataclasses
import fcntl
import os
import re
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

STORAGE = "TERRACYTE_STUDIES"  # the variable by which users choose a database for all studies

State = Literal["complete", "pruned", "failed"]
_JOB, _FAILURE = "job", "failure"  # user attributes of a trial
_COPYING = "copying"  # of a study: true while it is half a copy
_DIGITS = 4  # significant ones of a searched number
_STARTUP_TRIALS, _WARMUP_EPOCHS = 5, 1  # before which the median prunes nothing


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """A finished trial.

    Attributes:
        number: 0 is the reference.
        state: complete, pruned (ended early, as hopeless), or failed.
        values: what was searched, by key.
        score: of the trained model by validation, higher is better; of a pruned trial that of its last epoch, of a
            failed one None.
        epochs: the score after each epoch.
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
    """What a trial came to.

    Attributes:
        state: see `Trial`.
        score: of a complete one.
        failure: why it failed.
    """

    state: State
    score: float | None = None
    failure: str = ""


class RunningTrial:
    """A trial under way.

    Attributes:
        values: what to try.
    """

    def __init__(self, study: "optuna.Study", trial: "optuna.Trial", values: dict[str, object]) -> None:
        self.values = values
        self._study, self._trial = study, trial
        self._reported = set(study.trials[trial.number].intermediate_values)

    def should_prune(self, epoch: int, score: float) -> bool:
        """Record an epoch's score; whether the trial is hopeless beside the earlier ones.

        Args:
            epoch: from 1; one that was recorded before the trial's process died is passed over.
            score: of the network after it.
        """
        with _storage_errors():
            if epoch not in self._reported:
                self._trial.report(score, epoch)
                self._reported.add(epoch)
            return self._trial.should_prune()

    def end(self, outcome: Outcome) -> None:
        """Record what became of it."""
        import optuna

        states = optuna.trial.TrialState
        state = {"complete": states.COMPLETE, "pruned": states.PRUNED, "failed": states.FAIL}[outcome.state]
        with _storage_errors():
            if outcome.failure:
                self._trial.set_user_attr(_FAILURE, outcome.failure)
            self._study.tell(self._trial, outcome.score, state)


class Study:
    """A search that goes on where it ended.

    A job is a trial before it has begun. The same job always leads to the same trial, so that a trial of a killed
    process is resumed.

    Args:
        name: studies of one name are one study: it must stand for all that trials depend on.
        tune: space, seed and pruner.
        start: the reference's values of the space's keys: the first trial.
        workers: how many trials are under way at a time. With one, the same study is searched in the same way each
            time, killed and gone on with or not.
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
        """The jobs below `trials` that no finished trial stands for."""
        with _storage_errors():
            known = self._study.get_trials(deepcopy=False)
        done = {each.user_attrs.get(_JOB) for each in known if each.state.is_finished()}
        return [job for job in range(trials) if job not in done]

    def begin(self, job: int) -> RunningTrial:
        """Choose what a job tries, or resume the trial of a killed process.

        Args:
            job: its number; 0 is the reference.
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
        """The finished trials within the budget, by number; those beyond it are of a time when it was larger."""
        return [self._trial(each) for each in self._finished()]

    def importances(self) -> dict[str, float]:
        """How much each key decides about being among the best trials (PED-ANOVA, arXiv 2304.10255), summing to 1.

        Empty where too few trials are complete to tell.
        """
        import optuna

        complete = [trial for trial in self.trials() if trial.state == "complete"]
        keys = [key for key in self._tune.space if len({repr(trial.values.get(key)) for trial in complete}) > 1]
        if len(complete) < 4 or not keys:
            return {}
        counted = optuna.create_study(direction="maximize")
        counted.add_trials(self._finished())
        try:
            found = optuna.importance.get_param_importances(counted)
        except (ValueError, RuntimeError):  # all scores alike
            return {}
        return {key: round(float(found[key]), _DIGITS) for key in keys if key in found}

    def remember(self, name: str, value: float | str) -> None:
        """Keep a number or a text with the study."""
        with _storage_errors():
            self._study.set_user_attr(name, value)

    def remembered(self, name: str) -> float | str | None:
        """What was kept; None for nothing."""
        with _storage_errors():
            value: float | str | None = self._study.user_attrs.get(name)
        return value

    def _finished(self) -> list["optuna.trial.FrozenTrial"]:
        with _storage_errors():
            found = self._study.get_trials(deepcopy=False)
        done = [each for each in found if each.state.is_finished() and _JOB in each.user_attrs]
        return [each for each in done if each.number < self._tune.trials]

    def _ask(self, job: int) -> "optuna.Trial":
        """The job's trial: the one that a killed process has left, or a new one."""
        import optuna

        ours = [each for each in self._study.get_trials(deepcopy=False) if each.user_attrs.get(_JOB) == job]
        running = next((each for each in ours if each.state == optuna.trial.TrialState.RUNNING), None)
        if running is not None:
            return optuna.Trial(self._study, running._trial_id)
        if not ours:
            # made with its job, and the reference with its values: there is no moment at which a kill could part them
            self._study.enqueue_trial(dict(self._start) if job == 0 else {}, user_attrs={_JOB: job})
        return self._study.ask()

    def _tried(self, key: str, found: object) -> object:
        """A drawn number with few digits, as people would write it, within its bounds; choices and the reference's own
        values have theirs."""
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
    """The tree-structured Parzen estimator (Bergstra et al., NIPS 2011), seeded anew for each value of each job.

    So a choice depends on the finished trials alone, and not on which process makes it, or on what that process did
    before: one that was killed may have chosen some of the job's values.

    Args:
        seed: of the search.
        job: its number.
        place: of the value's key in the space.
        workers: how many trials are under way at a time.
    """
    import optuna

    own = int(np.random.SeedSequence([seed, job, place]).generate_state(1)[0])
    return optuna.samplers.TPESampler(seed=own, constant_liar=workers > 1)


def _pruner(name: str) -> "optuna.pruners.BasePruner":
    import optuna

    if name == "hyperband":
        return optuna.pruners.HyperbandPruner()
    if name == "median":
        return optuna.pruners.MedianPruner(_STARTUP_TRIALS, _WARMUP_EPOCHS)
    return optuna.pruners.NopPruner()


def _storage(name: str) -> "optuna.storages.BaseStorage":
    """The user's database, into which a study of this machine is copied first, or a journal file.

    Several processes of one machine write to a journal safely.
    """
    import optuna

    url, journal = os.environ.get(STORAGE), paths.STUDIES / f"{name}.journal"
    if not url:
        return _journal(journal)
    try:
        database = optuna.storages.RDBStorage(url)
    except Exception as error:  # of SQLAlchemy, Optuna, the driver or Python: it depends on what the address lacks
        raise _unusable(error) from error
    local = _journal(journal) if journal.exists() else None
    known = local is not None and name in optuna.get_all_study_names(local)
    _take_half_away(name, database, known)
    if local is not None and known and name not in optuna.get_all_study_names(database):
        _copy(optuna.load_study(study_name=name, storage=local), database)
    return database


def _copy(study: "optuna.Study", database: "optuna.storages.BaseStorage") -> None:
    """Copy a study into a database, marked as half a copy until it is whole: an error or a kill may come between."""
    import optuna

    copy = optuna.create_study(study_name=study.study_name, storage=database, direction="maximize")
    copy.set_user_attr(_COPYING, True)
    for key, value in study.user_attrs.items():
        copy.set_user_attr(key, value)
    copy.add_trials(study.get_trials(deepcopy=False))
    copy.set_user_attr(_COPYING, False)


def _take_half_away(name: str, database: "optuna.storages.BaseStorage", known: bool) -> None:
    """Delete half a copy of a study; one without any trial is such a half, too, if this machine `known`s more."""
    import optuna

    if name not in optuna.get_all_study_names(database):
        return
    found = optuna.load_study(study_name=name, storage=database)
    if found.user_attrs.get(_COPYING, known and not found.get_trials(deepcopy=False)):
        optuna.delete_study(study_name=name, storage=database)


def _journal(file: Path) -> "JournalStorage":
    """A study of this machine; opening it reads it.

    A kill may have left half a line at its end, behind which Optuna would write the next one.

    Raises:
        InputError: it is damaged.
    """
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+b") as stream:
        stream.seek(0)
        stream.truncate(stream.read().rfind(b"\n") + 1)
    lock: Any = _JournalLock(file)  # in form one of Optuna's
    try:
        return JournalStorage(JournalFileBackend(str(file), lock))
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise InputError(f"{file} is damaged ({error}): move it away, and the search begins anew") from error


class _JournalLock:
    """Lets one process at a time write to a journal; the operating system ends it with its process.

    Optuna's own is a link, which a killed process leaves behind: all later ones would wait for it.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def acquire(self) -> bool:
        """Wait for the others."""
        stream = self._file.open("rb")
        fcntl.flock(stream, fcntl.LOCK_EX)
        self._stream = stream
        return True

    def release(self) -> None:
        """Let the next one write."""
        self._stream.close()


@contextmanager
def _storage_errors() -> Iterator[None]:
    """Whatever the storage throws becomes one line."""
    import sqlalchemy.exc
    from optuna.exceptions import StorageInternalError

    try:
        yield
    except (StorageInternalError, sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        raise _unusable(error) from error


def _unusable(error: Exception) -> InputError:
    message = " ".join(_without_password(str(error)).split())[:200]
    return InputError(
        f"the storage of studies cannot be used ({message}): check {STORAGE}, which needs a database of its own, or "
        f"unset it to keep studies in {paths.STUDIES}"
    )


def _without_password(message: str) -> str:
    """A message that may quote the address, or the part of its password that was taken for something else: a password
    may hold an @ or a / that ought to have been written as %40 or %2F."""
    spans = re.findall(r"://[^:/@]*:(.*)@|[?&]\w*password=([^&]*)", os.environ.get(STORAGE, ""))
    secrets = [secret for span in spans for written in span for secret in (written, unquote(written))]
    parts = {part for secret in secrets for part in re.split("[/@:?#=&]", secret)} - {""}
    for part in sorted(parts, key=len, reverse=True):
        message = message.replace(part, "***")
    return message


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The complete trial with the highest score, the first of equals; None if there is none."""
    complete = [trial for trial in trials if trial.state == "complete" and trial.score is not None]
    return max(complete, key=lambda trial: (trial.score, -trial.number), default=None)
