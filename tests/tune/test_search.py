"""A search as the stage runs it: real trainings, in processes of their own."""

import contextlib
import errno
import functools
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages import tune as stage
from terracyte import compute, params, tracking
from terracyte.compute.jobs import no_reply
from terracyte.configure import rows
from terracyte.core import files, paths
from terracyte.core.errors import InputError, UnusableFileError
from terracyte.params import Compute, yaml_files
from terracyte.params.row import Identity
from terracyte.params.variant import Config
from terracyte.report import search_text
from terracyte.tasks.task import Task
from terracyte.train import batches
from terracyte.train.batches import Rows
from terracyte.train.fit import Fitting
from terracyte.tune import search, study
from terracyte.tune import trial as trials
from terracyte.tune.study import Outcome
from terracyte.tune.trial import ConfirmationJob, Training, TrialJob
from tests import balanced_project
from tests.conftest import ROOT, Edit, copy_settings, write_settings

SPACE = {
    "learning_rate": {"low": 1e-6, "high": 1e-1, "scale": "log"},
    "dropout": {"low": 0.0, "high": 0.5},
}


TRIALS = 3  # where trials are faked; 2 where they are trained


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A balanced project with a short search: made once, to be copied."""

    folder = tmp_path_factory.mktemp("balanced")
    copy_settings(folder)
    with contextlib.chdir(folder):
        balanced_project.write(folder)
        content = yaml_files.read_yaml(paths.PARAMS)
        content["tune"]["mars"].update(trials=TRIALS, space=SPACE, change={"epochs": 3, "patience": 3})
        # TensorFlow traces few layers faster
        content["reference"]["mars"].update(depth=1, test_time_flips=False, class_offsets=False)
        write_settings(paths.PARAMS, content)
    return folder


@pytest.fixture(autouse=True)
def balanced(project: Path, template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(study.STORAGE, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    shutil.copytree(template, project, dirs_exist_ok=True)


def training() -> Training:
    """Return the reference's training."""
    return trials.training(params.load(), "mars", {}, 0, "a")


def pretend(monkeypatch: pytest.MonkeyPatch, scores: dict[str, Any], best: float = 0.9) -> list[Any]:
    """Fake trials and repetitions, without processes; return a list that collects their jobs.

    The last trial scores `best`, all others 0.5. Repetitions score as in `scores`, or fail with a text given there.
    """
    done: list[Any] = []

    def run(function: Any, jobs: Any, *_: Any) -> Any:
        for job in jobs:
            done.append(job)
            if isinstance(job, TrialJob):
                yield job, Outcome(state="complete", score=best if job.number == 2 else 0.5)
            else:
                score = scores[job.whose]
                failed = isinstance(score, str)
                yield job, Outcome(state="failed", failure=score) if failed else Outcome(state="complete", score=score)

    monkeypatch.setattr(compute, "run", run)
    return done


def test_a_winner_that_stands_fresh_seeds_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    done = pretend(monkeypatch, {"reference": 0.5, "winner": 0.6})
    outcome = search.search(params.load(), "mars")
    assert outcome["chosen"] == "winner"
    assert outcome["best"]["number"] == 2
    assert outcome["values"] == outcome["best"]["values"] != {}
    repeats = [job for job in done if isinstance(job, ConfirmationJob)]
    assert {(job.whose, job.training.seed) for job in repeats} == {("reference", 1), ("winner", 1)}
    # a second search does not train the repetitions again
    assert search.search(params.load(), "mars") == outcome
    assert len([job for job in done if isinstance(job, ConfirmationJob)]) == 2


def test_the_outcome_that_git_brought_is_kept_without_its_trials(edit: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    done = pretend(monkeypatch, {"reference": 0.5, "winner": 0.6})
    outcome = search.search(params.load(), "mars")
    files.write_json(paths.tuning("mars"), outcome)
    shutil.rmtree(paths.STUDIES)
    done.clear()
    edit("variants.mars-unet_1.title", "another title")
    assert search.search(params.load(), "mars") == outcome
    assert not done


@pytest.mark.parametrize(("key", "value"), [("trials", 4), ("confirm", 2), ("seed", 7)])
def test_another_search_s_outcome_is_not_kept(
    key: str, value: int, edit: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = pretend(monkeypatch, {"reference": 0.5, "winner": 0.6})
    files.write_json(paths.tuning("mars"), search.search(params.load(), "mars"))
    done.clear()
    edit(f"tune.mars.{key}", value)
    search.search(params.load(), "mars")
    assert done


@pytest.mark.parametrize("winner", [0.4, 0.5])
def test_one_that_does_not_leaves_the_reference(monkeypatch: pytest.MonkeyPatch, winner: float) -> None:
    pretend(monkeypatch, {"reference": 0.5, "winner": winner})
    outcome = search.search(params.load(), "mars")
    assert outcome["best"]["number"] == 2
    assert (outcome["chosen"], outcome["values"]) == ("reference", {})


def test_a_reference_that_is_best_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    done = pretend(monkeypatch, {}, best=0.1)
    outcome = search.search(params.load(), "mars")
    assert (outcome["best"]["number"], outcome["chosen"], outcome["values"]) == (0, "reference", {})
    assert all(isinstance(job, TrialJob) for job in done)


def test_no_trials_are_no_search(edit: Edit) -> None:
    edit("tune.mars.trials", 0)
    outcome = search.search(params.load(), "mars")
    assert (outcome["trials"], outcome["values"]) == ([], {})
    assert not paths.STUDIES.exists()


@pytest.mark.parametrize(("minutes", "begun"), [(0.5, 0), (1.5, 1), (2.5, 2)])
def test_time_is_a_budget_too(minutes: float, begun: int, edit: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    done = pretend(monkeypatch, {})
    # a minute passes between one reading of the clock and the next
    monkeypatch.setattr(search, "time", SimpleNamespace(monotonic=itertools.count(step=60).__next__))
    edit("tune.mars.minutes", minutes)
    if begun:
        assert len(search.search(params.load(), "mars")["trials"]) == begun
    else:
        with pytest.raises(
            InputError, match="none of 0 trials got a score: the time limit passed before the first began"
        ):
            search.search(params.load(), "mars")
    assert len(done) == begun


def test_a_smaller_budget_forgets_the_later_trials(edit: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, {"reference": 0.5, "winner": 0.6})
    assert search.search(params.load(), "mars")["best"]["number"] == 2
    edit("tune.mars.trials", 2)
    outcome = search.search(params.load(), "mars")
    assert ([trial["number"] for trial in outcome["trials"]], outcome["best"]["number"]) == ([0, 1], 0)


def test_a_question_of_a_job_that_was_given_up_is_answered_with_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = []

    def run(function: Any, jobs: Any, where: Compute, inputs: Any, answer: Any) -> Any:
        for job in jobs:
            yield job, compute.Lost("signal 9")
            answers.append(answer(job, (1, 0.5)))

    monkeypatch.setattr(compute, "run", run)
    with pytest.raises(InputError, match=r"none of 3 trials got a score: its process died 3 times \(signal 9\)"):
        search.search(params.load(), "mars")
    assert answers == [True] * 3


def test_a_training_that_fails_is_a_failed_trial() -> None:
    weights = {"class_weights": [0.0, 3e38, 1.0, 1.0]}
    paths.balance("mars").unlink()
    files.write_json(paths.balance("mars"), weights)
    for outcome in (
        trials.run(TrialJob(0, training()), lambda epoch: False),
        trials.confirm(ConfirmationJob("winner", training()), lambda epoch: False),
    ):
        assert outcome.state == "failed"
        assert "loss of epoch 1 is not finite" in outcome.failure


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "full"), UnusableFileError("a is missing", "make it")])
def test_a_fault_of_the_machine_ends_the_search_and_condemns_no_trial(
    fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> float:
        raise fault

    monkeypatch.setattr(trials, "_train", fail)
    with pytest.raises(type(fault)):
        trials.run(TrialJob(0, training()), lambda epoch: False)
    with pytest.raises(type(fault)):
        trials.confirm(ConfirmationJob("winner", training()), lambda epoch: False)


def test_what_is_trained_is_what_stood_in_the_settings() -> None:
    jobs: list[Any] = [TrialJob(0, training()), ConfirmationJob("winner", training())]
    for name in ("params.yaml", "experiment.yaml"):
        Path(name).unlink()
    outcomes = [trials.run(jobs[0], lambda epoch: False), trials.confirm(jobs[1], lambda epoch: False)]
    assert outcomes[0] == outcomes[1]
    assert outcomes[0].state == "complete"


@pytest.mark.parametrize(
    ("path", "value"), [("reference.mars.width", 5), ("tune.mars.share", 0.9), ("tune.mars.confirm", 2)]
)
def test_settings_that_are_edited_during_a_search_are_told(
    path: str, value: object, edit: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, {"reference": 0.5, "winner": 0.6})
    settings = params.load()
    edit(path, value)
    with pytest.raises(InputError, match=r"were changed during the search: run it again \(finished trials are kept"):
        search.search(settings, "mars")
    assert len(trials.open_study(settings, "mars").trials()) == TRIALS


@pytest.mark.parametrize("failed", ["reference", "winner"])
def test_a_confirmation_that_fails_leaves_the_reference(failed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    done = pretend(monkeypatch, {"reference": 0.5, "winner": 0.6, failed: "loss of epoch 1 is not finite"})
    outcome = search.search(params.load(), "mars")
    assert (outcome["chosen"], outcome["values"]) == ("reference", {})
    assert outcome["confirmation"][failed] == [None]
    assert outcome["confirmation"]["failures"] == {f"{failed} seed 1": "loss of epoch 1 is not finite"}
    told = search_text.note("mars", outcome)
    assert f"a training failed ({failed} seed 1: loss of epoch 1 is not finite): the reference stays." in told
    # the failed repetition is not repeated: it would fail again
    begun = len(done)
    assert search.search(params.load(), "mars") == outcome
    assert len(done) == begun


def test_a_search_without_a_record_is_kept_and_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise InputError("the tracking store cannot be used")

    monkeypatch.setattr(tracking, "log_study", fail)
    monkeypatch.setattr(search, "search", lambda *_: {"values": {"width": 8}})
    monkeypatch.setattr(sys, "argv", ["tune", "mars"])
    stage.main()
    assert capsys.readouterr().err == "warning: the tracking store cannot be used; the report records the search\n"
    assert files.read_json(paths.tuned("mars")) == {"width": 8}


def test_another_process_that_searches_is_not_disturbed() -> None:
    with search._exclusive("mars"), pytest.raises(InputError, match="another process is already searching"):
        search.search(params.load(), "mars")


def test_what_trials_depend_on_makes_another_study(edit: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    name = trials.open_study(params.load(), "mars").name
    edit("tune.mars.trials", 30)
    edit("compute.workers", 4)
    assert trials.open_study(params.load(), "mars").name == name
    names = {name}
    for path in ("tune.mars.seed", "tune.mars.share", "reference.mars.width"):
        edit(path, 1)
        names.add(trials.open_study(params.load(), "mars").name)
    edit("tasks.mars.corruptions", ["noise"])
    names.add(trials.open_study(params.load(), "mars").name)
    monkeypatch.setattr(trials, "code_hash", lambda *_: "ab")
    names.add(trials.open_study(params.load(), "mars").name)
    assert len(names) == 6


@pytest.mark.parametrize(("workers", "trials_at_a_time"), [("auto", 1), (1, 1), (3, 3)])
def test_only_a_declared_number_lets_trials_run_side_by_side(
    workers: object, trials_at_a_time: int, edit: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit("compute.workers", workers)
    asked = []

    def refuse(function: Any, jobs: Any, where: Compute, *_: Any) -> Any:
        asked.append(where.workers)
        raise InputError("enough")

    monkeypatch.setattr(compute, "run", refuse)
    with pytest.raises(InputError, match="enough"):
        search.search(params.load(), "mars")
    assert asked == [trials_at_a_time]


def train_here(function: Any, jobs: Any, _: Any, __: Any, answer: Any = no_reply) -> Any:
    """Replace `compute.run`, whose processes would take seconds to import Keras."""
    for job in jobs:
        yield job, function(job, functools.partial(answer, job))


def test_trials_train_and_a_killed_search_ends_as_if_it_had_not_been_killed(
    edit: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit("tune.mars.trials", 2)
    with Path("tune.log").open("w") as log:
        killed = subprocess.Popen(
            [sys.executable, "-m", "stages.tune", "mars"], stdout=log, stderr=log, start_new_session=True
        )
    end = time.monotonic() + 600
    while not list(paths.CHECKPOINTS.glob("*-1/epoch_*")):
        assert killed.poll() is None, Path("tune.log").read_text()
        assert time.monotonic() < end
        time.sleep(0.02)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not paths.tuning("mars").exists()
    study = trials.open_study(params.load(), "mars")
    assert [trial.number for trial in study.trials()] in ([0], [0, 1])

    with monkeypatch.context() as patch:
        patch.setattr(compute, "run", train_here)
        outcome = search.search(params.load(), "mars")
        for journal in paths.STUDIES.glob("*.journal"):
            journal.unlink()
        assert search.search(params.load(), "mars") == outcome
    # nothing is left to do, so nothing is done
    assert search.search(params.load(), "mars") == outcome
    assert [trial["number"] for trial in outcome["trials"]] == [0, 1]
    assert {trial["state"] for trial in outcome["trials"]} == {"complete"}
    assert all(len(trial["epochs"]) == 3 for trial in outcome["trials"])
    assert outcome["trials"][0]["values"] == {"learning_rate": 5e-3, "dropout": 0.3}
    assert outcome["best"]["score"] == max(trial["score"] for trial in outcome["trials"])
    assert not list(paths.CHECKPOINTS.iterdir())


def test_tuned_values_are_what_training_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, {"reference": 0.5, "winner": 0.6})
    values = search.search(params.load(), "mars")["values"]
    before = resolved("mars-unet_final")
    files.write_json(paths.tuned("mars"), values)
    after = resolved("mars-unet_final")
    assert before.fingerprint != after.fingerprint
    assert after.config.learning_rate == values["learning_rate"]
    tuned_file = paths.tuned("mars")
    tuned_file.unlink()
    with pytest.raises(InputError, match="run `dvc repro tune@mars`"):
        resolved("mars-unet_final")


def resolved(name: str) -> Identity:
    """Return the first training of a row, as it would be configured now."""
    return next(row for row in rows.resolve(params.load(), "mars") if row.variant == name).identities[0]


def test_the_reference_and_the_best_values_are_trained_again(monkeypatch: pytest.MonkeyPatch) -> None:
    done = pretend(monkeypatch, {"reference": 0.5, "winner": 0.6})
    settings = params.load()
    best = search.search(settings, "mars")["best"]["values"]
    repeats = {job.whose: job.training.config for job in done if isinstance(job, ConfirmationJob)}
    assert repeats == {"reference": settings.trial("mars", {}), "winner": settings.trial("mars", best)}


@pytest.mark.parametrize(("winner", "confirmed"), [([0.4, 0.9], False), ([0.6, 0.75], True)])
def test_a_winner_needs_the_better_mean(winner: list[float], confirmed: bool) -> None:
    assert search._is_confirmed({"seeds": [1.0, 2.0], "reference": [0.5, 0.8], "winner": winner}) == confirmed


def test_a_trial_is_given_what_its_search_says_and_is_pruned_by_its_score(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "backbone", lambda variant: Path(f"{variant}.h5"))
    read, seeds = batches.read_training, []

    def heard(task: Task, config: Config, seed: int) -> tuple[Rows, Rows]:
        seeds.append(seed)
        return read(task, config, seed)

    def told(self: Fitting) -> None:
        assert (self.seed, self.pretrained) == (7, Path("mars-unet_final.h5"))
        assert (self.config.dropout, len(self.training), len(self.validation)) == (0.4, 8, 4)
        self.on_epoch(1, {"val_mean_iou": 0.25, f"val_{self.training.task.selection}": 0.5, "val_loss": 9.0})

    monkeypatch.setattr(batches, "read_training", heard)
    monkeypatch.setattr(Fitting, "run", told)
    job = TrialJob(0, trials.training(params.load(), "mars", {"dropout": 0.4}, 7, "a"))
    asked: list[Any] = []

    def prune(epoch: Any) -> bool:
        asked.append(epoch)
        return True

    assert trials.run(job, prune) == Outcome(state="pruned")
    assert (asked, seeds) == ([(1, 0.5)], [7])


def test_other_data_weights_spaces_and_pruners_make_another_study(edit: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [trials.study_name(params.load(), "mars")]
    edit("tune.mars.pruner", "hyperband")
    names.append(trials.study_name(params.load(), "mars"))
    edit("tune.mars.space.dropout.high", 0.6)
    names.append(trials.study_name(params.load(), "mars"))
    files.write_json(paths.balance("mars"), {"class_weights": [0.0, 1.0, 1.0, 2.0]})
    names.append(trials.study_name(params.load(), "mars"))
    monkeypatch.setattr(paths, "backbone", lambda _: paths.PARAMS)
    names.append(trials.study_name(params.load(), "mars"))
    assert len(set(names)) == 5
