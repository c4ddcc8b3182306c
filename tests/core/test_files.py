"""Atomic writes and errors: whole or not at all, one line and exit code 2."""

import errno
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from terracyte.core import files
from terracyte.core.errors import InputError, guarded


def fail_halfway(file: Path) -> None:
    with files.atomic(file) as temporary:
        temporary.write_text("half")
        raise RuntimeError


def fail_halfway_in_a_folder(folder: Path) -> None:
    with files.atomic_folder(folder) as temporary:
        (temporary / "a").write_text("half")
        raise RuntimeError


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    files.write_text(file, "old")
    with pytest.raises(RuntimeError):
        fail_halfway(file)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert file.read_text() == "old"


def test_a_failed_folder_leaves_the_old_folder(tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    with files.atomic_folder(folder) as temporary:
        (temporary / "a").write_text("old")
    with pytest.raises(RuntimeError):
        fail_halfway_in_a_folder(folder)
    assert (folder / "a").read_text() == "old"
    assert list(tmp_path.iterdir()) == [folder]


def test_json_is_the_same_bytes_whatever_the_order(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", {"b": 1, "a": [0.1]})
    files.write_json(tmp_path / "b.json", {"a": [0.1], "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert files.read_json(tmp_path / "a.json") == {"a": [0.1], "b": 1}


def test_json_refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "a.json", {"a": float("nan")})
    assert not list(tmp_path.iterdir())


def test_json_keeps_lists_of_numbers_on_one_line(tmp_path: Path) -> None:
    value = {"rows": [[1, 2], [3, -4e-9]], "empty": [], "texts": ["[\n1\n]", "2"]}
    files.write_json(tmp_path / "a.json", value)
    assert files.read_json(tmp_path / "a.json") == value
    assert "    [1, 2],\n    [3, -4e-09]\n" in (tmp_path / "a.json").read_text()


def test_arrays_are_the_same_bytes_at_any_time(tmp_path: Path) -> None:
    arrays: dict[str, NDArray[Any]] = {"id": np.arange(3), "mask": np.ones((3, 2, 2), np.uint8)}
    files.write_arrays(tmp_path / "a.npz", arrays)
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    read = files.read_arrays(tmp_path / "a.npz")
    assert list(read) == ["id", "mask"]
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
        assert read[name].dtype == array.dtype


def test_tables_are_the_same_bytes(tmp_path: Path) -> None:
    table = pd.DataFrame({"id": [1, 2], "name": ["a", "b"]})
    for name in ("a", "b"):
        files.write_table(tmp_path / f"{name}.parquet", table)
        files.write_csv(tmp_path / f"{name}.csv", table)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert (tmp_path / "a.csv").read_text() == "id,name\n1,a\n2,b\n"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("what\n is wrong"), "error: what is wrong\n"),
        (OSError(errno.ENOSPC, "No space left on device", "x.npy"), "error: the disk is full while writing x.npy:"),
        (OSError(errno.ENOSPC, "No space left on device"), "error: the disk is full: free some space"),
    ],
)
def test_what_people_see(capsys: pytest.CaptureFixture[str], error: Exception, line: str) -> None:
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as caught:
        guarded(main)
    assert caught.value.code == 2
    shown = capsys.readouterr().err
    assert shown.startswith(line)
    assert shown.count("\n") == 1


def test_a_bug_keeps_its_traceback() -> None:
    def main() -> None:
        raise PermissionError(errno.EACCES, "denied")

    with pytest.raises(PermissionError):
        guarded(main)
