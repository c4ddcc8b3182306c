"""Studies: what is tried next, what is remembered, and what a kill costs."""

import contextlib
import fcntl
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import SQLAlchemyError

from terracyte.core import paths
from terracyte.core.errors import InputError
from terracyte.params.search_space import Dimension, Tune, Values
from terracyte.tune import study as tuning
from terracyte.tune.study import Outcome, Study

START: Values = {"learning_rate": 1e-3, "schedule": "cosine", "warmup": 0.1}
SPACE = {
    "learning_rate": Dimension(low=1e-5, high=1e-1, scale="log"),
    "schedule": Dimension(choices=("cosine", "constant")),
    "warmup": Dimension(low=0.0, high=0.2, when={"schedule": ("cosine",)}),
}
TRIALS = 16

pytestmark = pytest.mark.usefixtures("project")


@pytest.fixture(autouse=True)
def no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(tuning.STORAGE, raising=False)


def study(name: str = "mars-a", pruner: str = "none", workers: int = 1, seed: int = 0) -> Study:
    tune = Tune(variant="mars-unet_final", trials=TRIALS, seed=seed, pruner=pruner, space=SPACE)  # type: ignore[arg-type]
    return Study(name, tune, START, workers)


def score(values: Values, report: Callable[[int, float], None]) -> float:
    """Return a score that is best at a learning rate of 0.01, after reporting three epochs."""
    rate = values["learning_rate"]
    assert isinstance(rate, float)
    total = 1 / (1 + abs(rate - 0.01) * 100)
    for epoch in (1, 2, 3):
        report(epoch, total * epoch / 3)
    return total


class PrunedError(Exception):
    pass


def attempt(record: Study, job: int, objective: Callable[[Values, Callable[[int, float], None]], float]) -> None:
    """Run a job until it is complete or pruned."""
    begun = record.begin(job)

    def report(epoch: int, score: float) -> None:
        if begun.should_prune(epoch, score):
            raise PrunedError

    try:
        begun.end(Outcome(state="complete", score=objective(begun.values, report)))
    except PrunedError:
        begun.end(Outcome(state="pruned"))


def run(record: Study, trials: int = TRIALS) -> None:
    for job in record.pending(trials):
        attempt(record, job, score)


def test_the_first_trial_is_the_reference_and_later_ones_find_better() -> None:
    record = study()
    run(record)
    trials = record.trials()
    assert [trial.number for trial in trials] == list(range(TRIALS))
    assert dict(trials[0].values) == START
    best = tuning.best_of(trials)
    assert best is not None
    assert best.number > 0
    assert (best.score or 0) > (trials[0].score or 0)


def test_values_stay_within_the_space_and_conditions_hold() -> None:
    record = study()
    run(record)
    for trial in record.trials():
        rate, schedule = trial.values["learning_rate"], trial.values["schedule"]
        assert isinstance(rate, float)
        assert 1e-5 <= rate <= 1e-1
        assert float(f"{rate:.4g}") == rate
        assert ("warmup" in trial.values) == (schedule == "cosine")
    assert {trial.values["schedule"] for trial in record.trials()} == {"cosine", "constant"}


def test_choices_bounds_and_the_reference_s_values_keep_all_their_digits() -> None:
    space = {
        "weight_averaging": Dimension(low=0.9, high=0.99999),
        "beta_2": Dimension(choices=(0.99995, 0.99985)),
        "learning_rate": Dimension(low=0.0012345, high=0.0012346),
    }
    start = {"weight_averaging": 0.99995, "beta_2": 0.99985, "learning_rate": 0.00123455}
    record = Study("digits", Tune(variant="a", trials=4, space=space), start, 1)
    tried = []
    for job in record.pending(4):
        begun = record.begin(job)
        tried.append(begun.values)
        begun.end(Outcome(state="complete", score=0.5))
    assert [trial.values for trial in record.trials()] == tried
    assert tried[0] == start
    assert all(space[key].holds(value) for values in tried for key, value in values.items())


def test_one_seed_is_one_search_and_another_seed_another() -> None:
    records = [study("a"), study("b"), study("c", seed=1)]
    for record in records:
        run(record)
    a, b, c = (record.trials() for record in records)
    assert a == b
    assert a[0] == c[0]
    assert a[1:] != c[1:]


def test_more_trials_go_on_with_the_same_study() -> None:
    run(study("whole"))
    run(study("parts"), trials=5)
    assert study("parts").pending(5) == []
    run(study("parts"))
    assert study("parts").trials() == study("whole").trials()


def test_a_smaller_budget_leaves_out_the_later_trials() -> None:
    run(study())
    run(study("few"), trials=10)
    smaller = Study("mars-a", Tune(variant="a", trials=10, space=SPACE), START, 1)
    assert smaller.trials() == study("few").trials()
    assert smaller.importances() == study("few").importances() != study().importances()
    assert len(study().trials()) == TRIALS


def test_a_killed_trial_is_gone_on_with_as_if_nothing_had_happened() -> None:
    run(study("whole"))
    seen: list[Values] = []

    def killed(values: Values, report: Callable[[int, float], None]) -> float:
        seen.append(values)
        report(1, 0.5)
        raise KeyboardInterrupt

    record = study("killed")
    run(record, trials=7)
    with pytest.raises(KeyboardInterrupt):
        attempt(record, 7, killed)
    again = study("killed")
    assert again.pending(8) == [7]

    def replayed(values: Values, report: Callable[[int, float], None]) -> float:
        seen.append(values)
        return score(values, report)

    attempt(again, 7, replayed)
    assert seen[0] == seen[1]
    assert again.trials()[7].score == study("whole").trials()[7].score
    run(again)
    assert [trial.values for trial in again.trials()] == [trial.values for trial in study("whole").trials()]
    assert [trial.number for trial in again.trials()] == list(range(TRIALS))


def killed_before_it_was_made(record: Study) -> None:
    record._study.enqueue_trial(dict(START), user_attrs={"job": 0})


def killed_before_it_chose(record: Study) -> None:
    record._ask(0)


def killed_before_it_told(record: Study) -> None:
    record.begin(0)


def test_a_trial_killed_between_two_choices_makes_the_same_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    run(study("whole"), trials=4)
    record = study("killed")
    run(record, trials=3)
    suggest, asked = tuning._suggest, []

    def killed(trial: Any, key: str, dimension: Dimension) -> object:
        asked.append(key)
        if len(asked) > 1:
            raise KeyboardInterrupt
        return suggest(trial, key, dimension)

    with monkeypatch.context() as patch:
        patch.setattr(tuning, "_suggest", killed)
        with pytest.raises(KeyboardInterrupt):
            record.begin(3)
    run(study("killed"), trials=4)
    assert study("killed").trials() == study("whole").trials()


@pytest.mark.parametrize("kill", [killed_before_it_was_made, killed_before_it_chose, killed_before_it_told])
def test_wherever_a_kill_meets_the_reference_it_stays_the_first_trial(kill: Callable[[Study], None]) -> None:
    run(study("whole"))
    kill(study("killed"))
    again = study("killed")
    assert again.pending(TRIALS) == list(range(TRIALS))
    run(again)
    assert again.trials() == study("whole").trials()


def test_a_failed_trial_is_recorded_and_the_search_goes_on() -> None:
    record = study()
    attempt(record, 0, score)
    record.begin(1).end(Outcome(state="failed", failure="its process died"))
    assert [(trial.state, trial.failure) for trial in record.trials()] == [
        ("complete", ""),
        ("failed", "its process died"),
    ]
    assert record.trials()[1].score is None
    assert record.pending(4) == [2, 3]


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_hopeless_trials_end_early(pruner: str) -> None:
    record = study(pruner=pruner)
    ended = []

    def trained(values: Values, report: Callable[[int, float], None]) -> float:
        for epoch in range(1, 10):
            try:
                report(epoch, score(values, lambda *_: None))
            except PrunedError:
                ended.append(epoch)
                raise
        return score(values, lambda *_: None)

    for job in record.pending(TRIALS):
        attempt(record, job, trained)
    pruned = [trial for trial in record.trials() if trial.state == "pruned"]
    assert len(pruned) == len(ended) > 0
    assert [len(trial.epochs) for trial in pruned] == ended
    assert all(epoch < 9 for epoch in ended)
    assert tuning.best_of(record.trials()) not in pruned


def test_importances_name_what_decides() -> None:
    record = study()
    run(record)
    importances = record.importances()
    assert sum(importances.values()) == pytest.approx(1, abs=1e-3)
    assert max(importances, key=lambda key: importances[key]) == "learning_rate"
    few = study("few")
    run(few, trials=2)
    assert few.importances() == {}


def test_where_all_scores_are_alike_no_key_decides() -> None:
    record = study("alike")
    for job in range(6):
        record.begin(job).end(Outcome(state="complete", score=0.5))
    assert record.importances() == {}


def test_numbers_are_remembered() -> None:
    study().remember("trial 3 seed 1", 0.25)
    assert study().remembered("trial 3 seed 1") == 0.25
    assert study().remembered("trial 3 seed 2") is None


def test_a_database_takes_the_place_of_the_journal(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(study())
    journal = study().trials()
    monkeypatch.setenv(tuning.STORAGE, f"sqlite:///{project}/studies.db")
    run(study())
    assert study().trials() == journal
    assert (project / "studies.db").exists()


def test_a_database_that_lacks_the_study_goes_on_from_the_journal(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(study("whole"))
    journal = study()
    run(journal, 6)
    journal.begin(6).should_prune(1, 0.5)  # then its process is killed
    journal.remember("reference", 0.5)
    monkeypatch.setenv(tuning.STORAGE, f"sqlite:///{project}/studies.db")
    copied = study()
    assert copied.trials() == journal.trials()
    assert copied.remembered("reference") == 0.5
    assert copied.pending(8) == [6, 7]
    # the next trials are those that the journal's study would have tried
    run(copied)
    expected = study_of_journal("whole", monkeypatch)
    assert [trial.values for trial in copied.trials()] == [trial.values for trial in expected]
    # a database that has the study keeps its own trials
    assert study().trials() == copied.trials()
    assert len(journal.trials()) == 6


@pytest.mark.parametrize("rows", [0, 2])
@pytest.mark.parametrize("fault", [KeyboardInterrupt(), SQLAlchemyError("connection lost")])
def test_half_a_copy_is_made_anew(
    rows: int, fault: BaseException, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = study()
    run(local, 4)
    monkeypatch.setenv(tuning.STORAGE, f"sqlite:///{project}/studies.db")
    kind, added = type(local._study), []
    add = kind.add_trial

    def broken(study: Any, trial: Any) -> None:
        added.append(trial)
        if len(added) > rows:
            raise fault
        add(study, trial)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "add_trial", broken)
        with pytest.raises((KeyboardInterrupt, InputError)):
            study()
    assert study().trials() == local.trials()


def test_half_a_copy_is_used_by_no_machine_and_a_whole_one_by_all(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(tuning.STORAGE, f"sqlite:///{project}/studies.db")
    begun_here = study()
    run(begun_here, 2)
    assert len(study().trials()) == 2
    begun_here._study.set_user_attr("copying", True)
    assert study().trials() == []


def study_of_journal(name: str, monkeypatch: pytest.MonkeyPatch) -> list[tuning.Trial]:
    with monkeypatch.context() as patch:
        patch.delenv(tuning.STORAGE)
        return study(name).trials()


def test_a_journal_without_the_study_is_passed_over(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths.STUDIES.mkdir(parents=True)
    (paths.STUDIES / "mars-a.journal").touch()  # its process was killed before it wrote anything
    monkeypatch.setenv(tuning.STORAGE, f"sqlite:///{project}/studies.db")
    assert study().trials() == []


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://ann:geheim@127.0.0.1:port/studies",
        "postgresql://ann:x/geheim@127.0.0.1/studies",
        "geheim://ann:geheim@127.0.0.1/studies",
        "geheim+sqlite://ann:geh%65im@127.0.0.1/studies",
        "geheim://ann@127.0.0.1/studies?sslpassword=geheim",
        "sqlite://ann:geheim@127.0.0.1/studies",
        "an address",
        "sqlite:////nowhere/at/all.db",
    ],
)
def test_an_unusable_address_is_one_line_without_its_password(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tuning.STORAGE, address)
    with pytest.raises(InputError, match=f"cannot be used.*{tuning.STORAGE}") as caught:
        study()
    assert "\n" not in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_a_database_of_another_program_is_one_line(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tuning.STORAGE, f"sqlite:///{project}/mlflow.db")
    with contextlib.closing(sqlite3.connect("mlflow.db")) as database:  # as MLflow makes it, with its own Alembic table
        database.execute("create table alembic_version (version_num varchar(32) not null)")
        database.execute("insert into alembic_version values ('1b5f0d9ad7c1')")
        database.commit()
    with pytest.raises(InputError, match=r"cannot be used.*needs a database of its own"):
        study()


def journal() -> Path:
    """Return the journal of a study with one finished and one running trial."""
    record = study()
    attempt(record, 0, score)
    record.begin(1)
    return paths.STUDIES / "mars-a.journal"


def test_half_a_line_that_a_kill_has_left_is_no_damage() -> None:
    file = journal()
    sound = file.read_bytes()
    file.write_bytes(sound[:-20])
    attempt(study(), 1, score)
    assert len(study().trials()) == 2
    assert file.read_bytes().startswith(sound[: sound[:-20].rfind(b"\n") + 1])


def test_writers_take_turns_and_a_killed_one_blocks_nobody() -> None:
    file = journal()
    file.with_name(f"{file.name}.lock").symlink_to(file)  # what a kill leaves of Optuna's own lock
    writing = threading.Thread(target=study().remember, args=("a", 1.0))
    with file.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        writing.start()
        writing.join(0.2)
        assert writing.is_alive()
    writing.join(5)
    assert study().remembered("a") == 1.0


@pytest.mark.parametrize("damage", [b"<<<<<<< HEAD\n", b"\xff\n", b"[1]\n", b'{"op_code": 99, "worker_id": "a"}\n'])
def test_a_damaged_journal_is_one_line(damage: bytes) -> None:
    file = journal()
    file.write_bytes(damage + file.read_bytes())
    with pytest.raises(InputError, match=r"(?s)mars-a\.journal is damaged \(.*\): move it away"):
        study()


@pytest.mark.parametrize(("pruner", "kind"), [("median", "MedianPruner"), ("hyperband", "HyperbandPruner")])
def test_the_pruner_is_the_one_that_is_asked_for(pruner: str, kind: str) -> None:
    assert type(study(pruner=pruner)._study.pruner).__name__ == kind


def test_each_key_is_drawn_by_itself_and_on_its_scale() -> None:
    space = {name: Dimension(low=1e-6, high=1, scale="log") for name in ("weight_decay", "learning_rate")}
    record = Study("drawn", Tune(variant="a", trials=9, space=space), dict.fromkeys(space, 0.5), 1)
    run(record, trials=9)
    drawn = [trial.values for trial in record.trials()[1:]]
    assert all(values["weight_decay"] != values["learning_rate"] for values in drawn)
    # half of them on average; on a linear scale hardly any
    assert 0 < sum(float(str(values["learning_rate"])) < 1e-3 for values in drawn) < 8
