"""What a retraining asks of DVC, on a pipeline of two stages in the root folder and in a sub-folder."""

import errno
import shutil
from pathlib import Path
from typing import Any

import pytest

from terracyte.core import dvc, files, paths
from terracyte.core.errors import InputError
from terracyte.params import lock, yaml_files
from terracyte.retrain import pipeline, retraining
from tests.conftest import commit, git, write_settings

DVC_YAML = """
vars: [experiment.yaml]
stages:
  evaluate:
    cmd: python ${root}/copy.py source data/scores
    deps: [source]
    outs: [data/scores]
  promote:
    cmd: python ${root}/copy.py data/scores data/champion
    deps: [data/scores]
    outs: [data/champion]
"""

COPY = """
import pathlib, sys
source, target = map(pathlib.Path, sys.argv[1:])
target.parent.mkdir(exist_ok=True)
target.write_text(source.read_text())
"""


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """An experiment in a sub-folder of a repository with a remote; the root folder is an experiment, too."""
    git("init", "--quiet", folder=tmp_path)
    dvc.run("init", "--quiet", folder=tmp_path)
    dvc.run("remote", "add", "--default", "storage", str(tmp_path / "storage"), folder=tmp_path)
    (tmp_path / "copy.py").write_text(COPY)
    for folder, root in ((tmp_path, "."), (tmp_path / "real", "..")):
        folder.mkdir(exist_ok=True)
        (folder / "dvc.yaml").write_text(DVC_YAML)
        (folder / "experiment.yaml").write_text(f"root: {root}")
        (folder / "source").write_text(f"of {folder.name}")
    return tmp_path / "real"


def test_what_changed_is_read_from_the_lock(
    real: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # stages find their Python without an activated environment
    assert pipeline.has_remote(real)
    assert pipeline.score(real, pull=True) == ["evaluate"]
    assert "Running stage 'evaluate'" in capfd.readouterr().out
    assert pipeline.score(real, pull=True) == []
    assert pipeline.finish(real, pull=True) == ["promote"]
    pipeline.push(real)

    # an output that is only missing is neither fetched nor made again
    for file in ("data/scores", "data/champion"):
        (real / file).unlink()
    assert pipeline.finish(real, pull=True) == []
    assert not (real / "data/champion").exists()

    # a run like an earlier one comes from the run cache, and counts as changed
    (real / "source").write_text("new")
    assert pipeline.score(real, pull=True) == ["evaluate"]
    (real / "source").write_text("of real")
    assert pipeline.score(real, pull=False) == ["evaluate"]
    assert (real / "data/scores").read_text() == "of real"
    assert not (real.parent / "data").exists()  # the experiment of the root folder was left alone


def test_a_failure_is_told_by_the_last_line_of_dvc(real: Path) -> None:
    (real / "source").unlink()
    with pytest.raises(InputError, match=r"`dvc repro` failed: ERROR: failed to reproduce 'evaluate'"):
        pipeline.score(real, pull=False)
    with pytest.raises(InputError, match=r"`dvc status` failed: ERROR: .*'nothing'"):
        dvc.run("status", "nothing", folder=real)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("<<<<<<< HEAD\nstages: {}\n=======\n>>>>>>> main\n", r"dvc\.lock has an unresolved git merge conflict"),
        ("", r"dvc\.lock is damaged: restore it with `git checkout"),
        ("stages: []", r"dvc\.lock is damaged"),
    ],
)
def test_a_damaged_lock_is_one_line(tmp_path: Path, content: str, expected: str) -> None:
    (tmp_path / "dvc.lock").write_text(content)
    with pytest.raises(InputError, match=expected):
        lock.stages(tmp_path)


def test_one_retraining_of_two_experiments(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = "stages: {evaluate: {cmd: echo scored > done, deps: [source], outs: [done]}}"
    shutil.copytree(paths.METRICS, Path("real") / paths.METRICS)
    for file in finished.glob("*.yaml"):
        shutil.copy(file, "real")
    for folder in (Path(), Path("real")):
        (folder / "dvc.yaml").write_text(stage)
        (folder / "source").write_text("before")
    commit()
    dvc.run("init", "--quiet")
    champion = files.read_json(paths.promotion("blood"))["champion"]["variant"]
    (Path("real") / paths.scores("blood", champion)).unlink()
    monkeypatch.setattr(pipeline, "finish", lambda *_, **__: pytest.fail("promoted although the gate stopped it"))

    assert not retraining.retrain("HEAD", [Path("real"), Path(), Path("real")], promote=True)
    summary = files.read_json(retraining.OUTPUT / "summary.json")
    assert not summary["promoted"]
    assert [(each["experiment"], each["changed"]) for each in summary["experiments"]] == [
        ("real", ["evaluate"]),
        (".", ["evaluate"]),
    ]
    stopped = [bool(verdict["reasons"]) for each in summary["experiments"] for verdict in each["verdicts"]]
    assert stopped == [True, False, False, False]
    assert f"**Stopped.** The champion `{champion}` has no scores: real/metrics" in capsys.readouterr().out
    text = Path("real/experiment.yaml").read_text()
    Path("real/experiment.yaml").write_text(text.replace('"root": "."', '"root": ".."'))
    Path("real/dvc.yaml").write_text(f"# old\n{stage}")
    with pytest.raises(InputError, match=r"real/dvc\.yaml differs from real/\.\./dvc\.yaml"):
        retraining.retrain("HEAD", [Path("real")])


@pytest.fixture
def retrainable(finished: Path) -> Path:
    """A committed experiment with a remote, of two stages; the second fails."""
    train = "{cmd: python train.py, deps: [train.py], outs: [model], metrics: [{scores: {cache: false}}]}"
    (finished / "dvc.yaml").write_text(f"stages: {{train: {train}, evaluate: {{cmd: 'false', deps: [model]}}}}")
    (finished / "train.py").write_text("for name in ('model', 'scores', 'runs'): print('x', file=open(name, 'a'))")
    commit()
    dvc.run("init", "--quiet")
    dvc.run("remote", "add", "--default", "storage", "storage")
    return finished


def test_what_was_finished_before_a_failure_is_pushed(retrainable: Path) -> None:
    with pytest.raises(InputError, match="failed to reproduce 'evaluate'"):
        retraining.retrain("HEAD", [Path()])
    # a clone without a cache gets the outputs without running the stage
    for name in ("model", "scores", "dvc.lock"):
        (retrainable / name).unlink()
    shutil.rmtree(".dvc/cache")
    dvc.run("repro", "--pull", "train")
    assert [(retrainable / name).read_text() for name in ("model", "scores", "runs")] == 3 * ["x\n"]


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (InputError("a stage failed"), "a stage failed"),
        (OSError(errno.ENOSPC, "No space left", "x"), "the disk is full while writing x: free some space and run"),
        (KeyboardInterrupt(), "It was ended from outside, or crashed."),
        (SystemExit(143), "It was ended from outside, or crashed."),
    ],
)
def test_the_first_failure_is_told_where_the_push_fails_too(
    retrainable: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    failure: BaseException,
    told: str,
) -> None:
    def fail(error: BaseException) -> None:
        raise error

    retraining.OUTPUT.mkdir(parents=True)
    for name in ("comment.md", "summary.json"):
        (retraining.OUTPUT / name).write_text("of the run before")
    monkeypatch.setattr(pipeline, "score", lambda *_, **__: fail(failure))
    monkeypatch.setattr(pipeline, "push", lambda _: fail(InputError("no http://me:SECRET@host")))
    with pytest.raises(type(failure)) as caught:
        retraining.retrain("HEAD", [Path()])
    assert caught.value is failure
    assert "warning: DVC's remote may lack finished outputs: no http://me:***@host\n" in capsys.readouterr().err
    (left,) = (file.read_text() for file in retraining.OUTPUT.iterdir())
    assert told in left


def test_a_task_that_is_gone_stops_the_change(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (finished / "dvc.yaml").write_text("stages: {evaluate: {cmd: 'true'}}")
    commit()
    dvc.run("init", "--quiet")
    content = yaml_files.read_yaml(paths.EXPERIMENT)
    del content["sources"]["mars"]
    content["rows"] = {name: task for name, task in content["rows"].items() if task != "mars"}
    content["override"] = {}
    write_settings(paths.EXPERIMENT, content)

    assert not retraining.retrain("HEAD", [Path()])
    assert "### Mars\n\n**Stopped.** The task `mars` has no row any more" in capsys.readouterr().out
    with pytest.raises(InputError):
        retraining.retrain("elsewhere", [Path()])
    assert not (retraining.OUTPUT / "summary.json").exists()


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([{"changed deps": {"data/raw": "deleted"}}, {"changed outs": {"data/scores": "not in cache"}}], False),
        ([{"changed deps": {"stages/train.py": "modified"}}], True),
        ([{"changed deps": {"params.yaml": {"train.epochs": "deleted"}}}], True),
        (["changed command"], True),
    ],
)
def test_missing_data_make_no_stage_out_of_date(entries: list[Any], expected: bool) -> None:
    assert pipeline._out_of_date({"stage": entries}) is expected


def test_a_stage_is_changed_where_its_entry_is_new_or_another() -> None:
    before = {"same": {"cmd": "a"}, "other": {"cmd": "a"}, "gone": {"cmd": "a"}}
    after = {"same": {"cmd": "a"}, "other": {"cmd": "b"}, "new": {"cmd": "a"}}
    assert pipeline.changed_stages(before, after) == ["other", "new"]


@pytest.fixture
def asked(retrainable: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a retraining, whose stages are all current, asks of the pipeline."""
    told: list[str] = []

    def finish(*_: object, **__: object) -> list[str]:
        told.append("finish")
        return ["promote@blood"]

    monkeypatch.setattr(pipeline, "score", lambda *_, **__: [])
    monkeypatch.setattr(pipeline, "finish", finish)
    monkeypatch.setattr(pipeline, "update_imports", lambda _: told.append("update"))
    monkeypatch.setattr(pipeline, "push", lambda _: told.append("push"))
    return told


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["push"]),
        ({"push": False}, []),
        ({"push": False, "update": True}, ["update"]),
        ({"promote": True}, ["finish", "push"]),
    ],
)
def test_nothing_is_promoted_pushed_or_updated_unasked(
    asked: list[str], options: dict[str, bool], expected: list[str]
) -> None:
    files.write_text(retraining.OUTPUT / "plots/index.html", "of the run before")
    assert retraining.retrain("HEAD", [Path()], **options)
    assert asked == expected
    assert not (retraining.OUTPUT / "plots/index.html").exists()
    summary = files.read_json(retraining.OUTPUT / "summary.json")
    assert summary["promoted"] == bool(options.get("promote"))


def test_a_difference_that_dvc_cannot_show_does_not_change_the_verdict(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = dvc.run

    def fail(*arguments: str, folder: Path) -> str:
        if "diff" in arguments:
            raise InputError("no such plot")
        return run(*arguments, folder=folder)

    monkeypatch.setattr(dvc, "run", fail)
    assert retraining.retrain("HEAD", [Path()])
    assert "warning: no such plot" in capsys.readouterr().err


def test_imports_alone_are_updated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/cells.dvc").write_text("frozen: true\ndeps: []\n")
    (tmp_path / "data/own.dvc").write_text("outs: []\n")
    commit(tmp_path)
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(dvc, "run", lambda *arguments, folder: ran.append(arguments))
    pipeline.update_imports(tmp_path)
    assert ran == [("update", "data/cells.dvc")]
