"""Models are loaded only if the experiment's dvc.lock records their hash, or the user gives it in the command."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from terracyte import cli, params, tasks
from terracyte.core import files, paths
from terracyte.core.errors import InputError
from terracyte.core.hashing import file_hash
from terracyte.params import lock
from terracyte.promote.champion import MODEL
from terracyte.submit import submission

IMAGES = "images.npy"
COMMANDS = {
    "predict": ["predict", "blood", IMAGES, "--output", "out.csv"],
    "serve": ["serve", "blood", "--port", "0"],
    "drift": ["drift", "blood", IMAGES],
}

Refused = Callable[..., str]


@pytest.fixture
def refused(champions: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Run a command, which must fail without loading a model; return its one-line error message."""
    np.save(IMAGES, np.zeros((1, 32, 32, 3), np.uint8))
    loads: list[Path] = []
    monkeypatch.setattr("terracyte.predict.predictor.read", lambda folder, *_: loads.append(folder))

    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as exit_:
            cli.main(arguments)
        assert exit_.value.code == 2
        assert not loads
        (line,) = capsys.readouterr().err.splitlines()
        return line

    return run


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_model_that_is_not_the_recorded_one_is_not_loaded(refused: Refused, command: list[str]) -> None:
    model = paths.champion("blood") / MODEL
    model.write_bytes(model.read_bytes() + b"\0")
    assert "data/blood/champion differs from dvc.lock: restore it with `dvc checkout" in refused(*command)


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_model_from_elsewhere_needs_its_hash(refused: Refused, command: list[str]) -> None:
    shutil.copytree(paths.champion("blood"), "elsewhere")
    known = file_hash(Path("elsewhere") / MODEL)
    assert known in refused(*command, "--model", "elsewhere")
    assert f"but {known}" in refused(*command, "--model", "elsewhere", "--sha256", "0" * 64)


def test_a_model_whose_hash_is_given_is_loaded(champions: Path) -> None:
    np.save(IMAGES, np.zeros((1, 32, 32, 3), np.uint8))
    shutil.copytree(paths.champion("blood"), "elsewhere")
    given = ["--model", "elsewhere", "--sha256", file_hash(Path("elsewhere") / MODEL).upper()]
    cli.main([*COMMANDS["predict"], *given])
    assert Path("out.csv").exists()


def test_models_are_submitted_by_hand_only_as_recorded(
    finished: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = params.load()
    task = tasks.make("blood", settings)
    folder = paths.models("blood", "blood-cnn")
    recorded = {"stages": {"train@blood-cnn": {"outs": [{"path": folder.as_posix(), "md5": lock.md5(folder)}]}}}
    files.write_json(lock.LOCK, recorded)
    model = next(folder.iterdir())
    model.write_bytes(model.read_bytes() + b"\0")
    monkeypatch.delenv("DVC_STAGE", raising=False)
    with pytest.raises(InputError, match=f"{folder} differs from dvc.lock"):
        submission.write(task, settings, tmp_path, "blood-cnn")


def test_a_folder_s_hash_is_dvc_s(tmp_path: Path) -> None:
    """DVC 3.67 computed the expected hash: one file is in a sub-folder, and names are sorted by code points."""
    (tmp_path / "out/sub").mkdir(parents=True)
    for name, content in (("b.txt", "one"), ("sub/a.txt", "two"), ("Z", "x")):
        (tmp_path / "out" / name).write_text(content)
    assert lock.md5(tmp_path / "out") == "f025f9eeaabe572ac20f1df4a721d5c6.dir"
    recorded = {"stages": {"made": {"outs": [{"path": "out", "md5": "f025f9eeaabe572ac20f1df4a721d5c6.dir"}]}}}
    files.write_json(tmp_path / lock.LOCK, recorded)
    assert lock.check(tmp_path / "out")
    assert not lock.check(tmp_path / "out/Z")
    (tmp_path / "out/Z").rename(tmp_path / "out/Y")
    with pytest.raises(InputError, match=r"differs from dvc\.lock"):
        lock.check(tmp_path / "out")
    # truncated entries, as a killed DVC leaves them
    pieces: list[Any] = [None, [{"path": "out"}], [{}]]
    for piece in pieces:
        files.write_json(tmp_path / lock.LOCK, {"stages": {"make": {"outs": piece}}})
        assert not lock.check(tmp_path / "out")
