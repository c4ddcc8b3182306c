"""`terracyte repro`, on an experiment of two rows, whose stage `train` copies a source file."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from terracyte.core import dvc
from terracyte.core.errors import InputError
from terracyte.repro import stages
from terracyte.repro.stages import reproduce
from tests.conftest import ROOT, Edit, git

DVC_YAML = """
stages:
  fetch:
    cmd: mkdir data/pretrained
    outs:
      - data/pretrained
  train:
    foreach: [a, b]
    do:
      cmd: python train.py ${item}
      deps:
        - ${item}
      outs:
        - data/${item}
      metrics:
        - metrics/${item}.json:
            cache: false
  evaluate:
    foreach: [a, b]
    do:
      cmd: cp data/${item} data/${item}_scores
      deps:
        - data/${item}
      outs:
        - data/${item}_scores
"""

TRAIN = """
import sys, time
from pathlib import Path
from terracyte.core.errors import InputError, guarded
def main():
    source = Path(sys.argv[1]).read_text()
    if source == "bad":
        raise InputError("bad source")
    if source == "slow":
        Path("begun").touch()
        time.sleep(60)
    for file in (f"data/{sys.argv[1]}", f"metrics/{sys.argv[1]}.json"):
        Path(file).write_text(source)
guarded(main)
"""

# what the command does, but without the checks of an experiment's files
COMMAND = """
import sys
from pathlib import Path
from terracyte.core.errors import guarded
from terracyte.repro import stages
stages.check = lambda folder: None
stages._ready = lambda folder, rows: True
stages._rows_at_once = lambda folder, workers: workers
guarded(lambda: stages.reproduce(Path(), 1, sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    git("init", "--quiet", folder=folder)
    dvc.run("init", "--quiet", folder=folder)
    (folder / "data").mkdir()
    (folder / "dvc.yaml").write_text(DVC_YAML)
    (folder / "train.py").write_text(TRAIN)
    for name in ("a", "b"):
        (folder / name).write_text("1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "check", lambda folder: None)
        patch.setattr(stages, "_rows_at_once", lambda folder, workers: workers)
        patch.setenv("PYTHONPATH", str(ROOT))
        reproduce(folder, workers=2)
    return folder


@pytest.fixture
def rows(finished_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The experiment after a run with sources "1"."""
    monkeypatch.setattr(stages, "check", lambda folder: None)
    monkeypatch.setattr(stages, "_ready", lambda folder, names: True)
    monkeypatch.setattr(stages, "_rows_at_once", lambda folder, workers: workers)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return Path(shutil.copytree(finished_once, tmp_path / "rows"))


PARTS = (("data/", ""), ("metrics/", ".json"))


def outputs(folder: Path) -> dict[str, str]:
    files = (folder / f"{part}{name}{end}" for part, end in PARTS for name in "ab")
    return {file.relative_to(folder).as_posix(): file.read_text() for file in files if file.exists()}


SOUND = {"data/a": "1", "data/b": "1", "metrics/a.json": "1", "metrics/b.json": "1"}


def test_all_stages_run_and_no_row_twice(rows: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert outputs(rows) == SOUND
    assert (rows / "data/a_scores").read_text() == (rows / "data/b_scores").read_text() == "1"
    reproduce(rows, workers=2)
    assert "Running stage" not in capfd.readouterr().out


def test_a_failing_row_brings_its_outputs_back_and_the_other_row_goes_on(rows: Path) -> None:
    (rows / "a").write_text("2")
    (rows / "b").write_text("bad")
    with pytest.raises(InputError, match="a stage failed, see above"):
        reproduce(rows, workers=2)
    assert outputs(rows) == {"data/a": "2", "data/b": "1", "metrics/a.json": "2", "metrics/b.json": "1"}


@pytest.mark.parametrize(
    ("targets", "number", "to_all", "code", "last_words"),
    [
        # a terminal sends Ctrl-C to all of its processes; make hands SIGTERM to the command alone
        (["train@a"], signal.SIGINT, True, 130, "interrupted: the previous outputs of unfinished stages are restored"),
        ([], signal.SIGTERM, False, 143, None),
    ],
)
def test_an_interrupted_run_brings_its_outputs_back_and_leaves_no_process(
    rows: Path, targets: list[str], number: signal.Signals, to_all: bool, code: int, last_words: str | None
) -> None:
    (rows / "a").write_text("slow")
    start = time.monotonic()
    command = [sys.executable, "-c", COMMAND, *targets]
    with subprocess.Popen(command, cwd=rows, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        while not (rows / "begun").exists():
            assert process.poll() is None
            assert time.monotonic() - start < 120
            time.sleep(0.05)
        told = time.monotonic()
        (os.killpg if to_all else os.kill)(process.pid, number)
        _, said = process.communicate()
    assert process.returncode == code
    assert time.monotonic() - told < 55  # the stage would have slept for longer
    assert outputs(rows) == SOUND
    assert "Traceback" not in said
    if last_words:
        assert said.splitlines()[-1] == last_words


@pytest.fixture
def side_by_side(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Arguments of each process that trains seeds side by side: how many at a time, and the rows."""
    asked: list[list[str]] = []

    def call(command: list[str], folder: Path, environment: dict[str, str], *, restarts: bool = False) -> int:
        if command[1:3] != ["-m", "terracyte.repro.seeds"]:
            return subprocess.run(command, cwd=folder, env=environment, check=False).returncode
        asked.append(command[3:])
        return 2  # a failure here is left to the stage

    monkeypatch.setattr("terracyte.core.processes.call", call)
    return asked


@pytest.mark.parametrize(("changed", "trained"), [("a", [["2", "a"]]), ("ab", [])])
def test_cores_that_rows_leave_idle_train_seeds(
    rows: Path, changed: str, trained: list[list[str]], side_by_side: list[list[str]]
) -> None:
    for name in changed:
        (rows / name).write_text("2")
    reproduce(rows, workers=2)
    assert side_by_side == trained
    assert outputs(rows) == SOUND | {f"{part}{name}{end}": "2" for name in changed for part, end in PARTS}


def test_seeds_of_rows_that_are_named_are_trained_side_by_side(rows: Path, side_by_side: list[list[str]]) -> None:
    for name in "ab":
        (rows / name).write_text("2")
    reproduce(rows, 2, ["evaluate@b"])
    assert side_by_side == [["2", "b"]]
    assert outputs(rows)["data/a"] == "1"
    assert (rows / "data/b_scores").read_text() == "2"


def test_what_rows_that_are_named_read_is_made_before(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def succeeds(*arguments: str, folder: Path) -> bool:
        ran.extend(arguments)
        return True

    monkeypatch.setattr(dvc, "succeeds", succeeds)
    assert stages._ready(project, ["mars-unet_1", "mars-unet_2", "blood-cnn"])
    assert ran == ["repro", "fetch", "configure@blood", "configure@mars"]
    with pytest.raises(InputError, match=r"experiment\.yaml: 'rows\.nosuch' is unknown"):
        stages._ready(project, ["nosuch"])


@pytest.mark.parametrize(
    ("targets", "succeeded", "commands"),
    [
        (["train", "promote@blood"], True, [["train", "promote@blood"]]),  # no row is named
        (["promote@blood"], False, [["promote@blood"]]),
        (["train@blood-cnn"], False, [["fetch", "configure@blood"]]),  # nothing is trained on what a failure has left
    ],
)
def test_what_is_done_before_the_targets(
    targets: list[str], succeeded: bool, commands: list[list[str]], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []

    def succeeds(_: str, *arguments: str, folder: Path) -> bool:
        ran.append(list(arguments))
        return succeeded

    monkeypatch.setattr(dvc, "succeeds", succeeds)
    assert stages._run_targets(project, 2, targets) == succeeded
    assert ran == commands


def test_a_malformed_experiment_is_not_begun(project: Path, edit: Edit) -> None:
    edit("tasks.blood.height", 0)
    with pytest.raises(InputError, match=r"params\.yaml: .*height"):
        reproduce(project, 1)


# The last target of each DVC: those of one line run side by side, the last one runs what is left.
ORDER = [
    ["fetch"],
    ["configure@mars", "configure@blood"],
    ["evaluate@mars-unet_1", "evaluate@blood-cnn"],
    ["submit@mars", "submit@blood"],
    ["repro"],
]


@pytest.mark.parametrize("failing", range(len(ORDER) + 1))
def test_what_depends_on_a_failed_stage_does_not_run(
    failing: int, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    failed = [line[0] for line in ORDER[failing : failing + 1]]

    def succeeds(*arguments: str, **_: object) -> bool:
        ran.append(arguments[-1])
        return arguments[-1] not in failed

    def names(_: Path, stage: str) -> list[str]:
        return ["blood-cnn", "mars-unet_1"] if stage == "train" else ["blood", "mars"]

    monkeypatch.setattr(dvc, "succeeds", succeeds)
    monkeypatch.setattr(stages, "_names", names)
    monkeypatch.setattr(stages, "_is_current", lambda _: False)
    monkeypatch.setattr(stages, "_stale", lambda *_: [])
    assert stages._run_all(project, 1) == (not failed)
    assert ran == [target for line in ORDER[: failing + 1] for target in line]


def test_stages_import_the_code_that_runs_dvc(rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They must not import the code of another clone, which may be installed."""
    (tmp_path / "other/terracyte").mkdir(parents=True)
    (tmp_path / "other/terracyte/__init__.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "other"))
    (rows / "a").write_text("2")
    reproduce(rows, workers=2, targets=["train@a"])
    assert outputs(rows)["data/a"] == "2"


def test_dvc_waits_for_another_dvc(rows: Path) -> None:
    code = "import sys, time, zc.lockfile as z; lock = z.LockFile(sys.argv[1]); print(1, flush=True); time.sleep(4)"
    command = [sys.executable, "-c", code, str(rows / ".dvc/tmp/lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        dvc.run("status", folder=rows)  # without waiting it fails after three seconds
        other.wait(timeout=1)


def test_a_second_run_waits_for_the_first(rows: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2); print(1, flush=True); time.sleep(1)"
    with subprocess.Popen([sys.executable, "-c", code, str(rows / "data/.running")], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with dvc.keeping_outputs(rows):
            assert other.wait(timeout=1) == 0
    assert capfd.readouterr().err == f"waiting for another run of {rows}\n"


def test_what_dvc_removed_of_metrics_comes_back_on_a_full_disk(rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    def lose() -> None:
        with dvc.keeping_outputs(rows):
            monkeypatch.setattr(shutil, "copyfile", fail)
            (rows / "metrics/a.json").unlink()
            raise InputError("a stage failed")

    with pytest.raises(InputError, match="a stage failed"):
        lose()
    assert outputs(rows) == SOUND


def test_what_a_killed_run_removed_of_metrics_comes_back_with_the_next_one(rows: Path) -> None:
    killed = """
import os, pathlib
from terracyte.core import dvc
with dvc.keeping_outputs(pathlib.Path()):
    pathlib.Path("metrics/a.json").unlink()
    os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", killed], cwd=rows, check=False).returncode == 9
    with dvc.keeping_outputs(rows):
        assert outputs(rows) == SOUND
        (rows / "metrics/b.json").unlink()
    with dvc.keeping_outputs(rows):  # what a successful run removed stays removed
        assert outputs(rows).keys() == SOUND.keys() - {"metrics/b.json"}


def test_nobody_calls_dvc_but_through_the_one_place_that_waits() -> None:
    recipes = [line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("\t")]
    assert not [line for line in recipes if "dvc " in line.replace("cp dvc.yaml", "")]
    callers = [
        file.relative_to(ROOT).as_posix()
        for folder in ("terracyte", "stages", "benchmarks")
        for file in (ROOT / folder).rglob("*.py")
        if '"dvc"' in file.read_text(encoding="utf-8")
    ]
    assert callers == ["terracyte/core/dvc.py"]
