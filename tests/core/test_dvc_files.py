"""DVC's own files are repaired after DVC was killed; intact files stay as they are."""

from pathlib import Path

import pytest
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from ruamel.yaml import YAML

from terracyte.core.dvc_files import mend

HEAD = "schema: '2.0'\nstages:\n"
FIRST = (
    "  fetch:\n    cmd: mkdir data\n    outs:\n    - path: data\n      hash: md5\n      md5: 0123.dir\n      size: 4\n"
)
LAST = FIRST.replace("fetch", "train@a").replace("    outs", "    deps:\n    - path: a\n      hash: md5\n    outs")


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """The path of dvc.lock, not written yet, for an experiment in a DVC repository."""
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    (tmp_path / "experiment").mkdir()
    return tmp_path / "experiment/dvc.lock"


def mended(lock: Path, text: str) -> str | None:
    lock.write_text(text)
    mend(lock.parent)
    return lock.read_text() if lock.exists() else None


def test_of_any_piece_dvc_can_read_what_is_left_and_no_whole_entry_is_lost(lock: Path) -> None:
    whole = HEAD + FIRST + LAST
    for end in range(len(HEAD + FIRST), len(whole)):
        left = mended(lock, whole[:end])
        assert left is not None
        assert left.startswith(HEAD + FIRST)
        COMPILED_LOCKFILE_SCHEMA(YAML(typ="safe").load(left))


@pytest.mark.parametrize(
    "piece", ["", "schem", "schema: '2.0'\nsta", HEAD, HEAD + "  fet", HEAD + "  fetch:\n    deps:\n"]
)
def test_nothing_is_left_of_a_piece_without_a_whole_entry(lock: Path, piece: str) -> None:
    assert mended(lock, piece) is None


@pytest.mark.parametrize(
    "text",
    [
        HEAD + FIRST + LAST,
        HEAD + FIRST + "  last:\n    cmd: one without outputs\n",
        HEAD + "<<<<<<< ours\n" + FIRST + "=======\n" + LAST + ">>>>>>> theirs\n",  # DVC itself reports the conflict
    ],
)
def test_what_no_kill_has_cut_stays(lock: Path, text: str) -> None:
    assert mended(lock, text) == text


def test_half_a_list_of_locks_goes(lock: Path) -> None:
    listed = lock.parents[1] / ".dvc/tmp/rwlock"
    for text, left in (('{"read": {}}', True), ('{"read": {', False), ("", False)):
        listed.write_text(text)
        mend(lock.parent)
        assert listed.exists() == left


def test_a_run_that_was_not_recorded_leaves_no_folder(lock: Path) -> None:
    """DVC fails if the folder of a run is empty."""
    recorded, begun = (lock.parents[1] / ".dvc/cache/runs/ab" / name for name in ("abc", "abd"))
    recorded.mkdir(parents=True)
    begun.mkdir()
    (recorded / "run").touch()
    mend(lock.parent)
    assert (recorded.exists(), begun.exists()) == (True, False)


def test_where_no_dvc_has_run_there_is_nothing_to_mend(tmp_path: Path) -> None:
    mend(tmp_path)
    assert list(tmp_path.iterdir()) == []
