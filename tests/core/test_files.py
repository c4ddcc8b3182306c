"""Atomic writes, which finish or change nothing, and errors, which are one line and exit code 2."""

import errno
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from terracyte.core import files, forms, npy
from terracyte.core.errors import InputError, UnusableFileError, guarded
from tests.conftest import ROOT

ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


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


def test_a_new_folder_replaces_none_that_appeared_meanwhile(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "precious").touch()
    with pytest.raises(OSError, match="not empty"), files.atomic_folder(folder, new=True):
        pass
    assert [each.name for each in tmp_path.rglob("*")] == ["mine", "precious"]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "raw"
    for content in ("old", "new"):
        with files.atomic_folder(folder) as temporary:
            (temporary / "a").write_text(content)
            (temporary / content).touch()
        assert sorted(each.name for each in folder.iterdir()) == ["a", content]

    monkeypatch.setattr(shutil, "rmtree", lambda _, ignore_errors: None)
    with files.atomic_folder(folder) as temporary:
        (temporary / "a").write_text("newer")
    assert len(list(tmp_path.iterdir())) == 2
    assert (folder / "a").read_text() == "newer"
    monkeypatch.undo()
    with files.atomic_folder(folder):  # also removes what the previous write could not
        pass
    assert list(tmp_path.iterdir()) == [folder]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_leaves_the_old_files_and_names_what_was_written(
    small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, 100_000, np.uint8)

    def write(file: Path) -> None:
        files.write_arrays(file, {"noise": noise})

    def write_table() -> None:
        files.write_table(small_disk / "a.parquet", pd.DataFrame({"noise": noise}))

    def write_folder() -> None:
        with files.atomic_folder(small_disk / "raw") as folder:
            write(folder / "a.npz")

    (small_disk / "a.npz").write_text("old")
    actions = {"a.npz": lambda: write(small_disk / "a.npz"), "a.parquet": write_table, "raw": write_folder}
    for name, action in actions.items():
        with pytest.raises(SystemExit, match="2"):
            guarded(action)
        start = f"error: the disk is full while writing {small_disk / name}: free some space"
        assert capsys.readouterr().err.startswith(start)
    assert [(file.name, file.read_text()) for file in small_disk.iterdir()] == [("a.npz", "old")]


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


def test_arrays_are_the_same_bytes_at_any_time_and_in_any_python(tmp_path: Path) -> None:
    arrays: dict[str, NDArray[Any]] = {"id": np.arange(3), "mask": np.ones((3, 2, 2), np.uint8)}
    files.write_arrays(tmp_path / "a.npz", arrays)
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {(entry.create_version, entry.extract_version) for entry in archive.infolist()} == {(45, 45)}
        # the zipfile of Python before 3.11.4 writes other versions here, and the sizes
        header = (tmp_path / "a.npz").read_bytes()[:26]
    assert (header[4], header[18:]) == (45, b"\xff" * 8)
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


def test_what_a_killed_process_left_is_removed_by_the_next_write(tmp_path: Path) -> None:
    script = f"""
from pathlib import Path
from terracyte.core import files, forms
with files.atomic(Path({str(tmp_path)!r}, "a.json")), files.atomic_folder(Path({str(tmp_path)!r}, "raw")) as folder:
    (folder / "half").touch()
    print(flush=True)
    input()
"""
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT) as process:
        assert process.stdout
        process.stdout.readline()
        write_both(tmp_path)
        temporaries = {path.name.rpartition("-")[0] for path in tmp_path.glob(".*")}
        assert temporaries == {".a.partial", ".raw.partial"}  # kept: the process that writes them is alive
        process.kill()
    write_both(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "raw"]


def test_a_process_that_is_asked_to_end_leaves_nothing(tmp_path: Path) -> None:
    script = f"""
import time
from pathlib import Path
from terracyte.core import files, forms
from terracyte.core.errors import guarded
def main():
    with files.atomic(Path({str(tmp_path)!r}, "a.json")), files.atomic_folder(Path({str(tmp_path)!r}, "raw")):
        print(flush=True)
        time.sleep(60)
guarded(main)
"""
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
        assert process.stdout
        process.stdout.readline()
        files.remove_abandoned(tmp_path)
        assert len(list(tmp_path.iterdir())) == 2  # kept: the process that writes them is alive
        process.terminate()
        _, said = process.communicate()
    assert (process.returncode, said) == (143, b"ended by SIGTERM\n")
    assert not list(tmp_path.iterdir())


def test_what_nobody_writes_again_is_removed_too(tmp_path: Path) -> None:
    (tmp_path / "models/.row.partial-abcdefgh").mkdir(parents=True)
    (tmp_path / "models/.row.partial-abcdefgh/seed_0.keras").touch()
    (tmp_path / ".a.partial-abcdefgh.json").touch()
    (tmp_path / "models/.hidden").touch()
    files.remove_abandoned(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["models", "models/.hidden"]


def write_both(folder: Path) -> None:
    files.write_json(folder / "a.json", {})
    with files.atomic_folder(folder / "raw"):
        pass


def test_only_temporaries_of_the_same_path_are_removed(tmp_path: Path) -> None:
    others = [".a.json", ".a-original.json", ".ab.partial-12345678.json"]
    for name in others:
        (tmp_path / name).touch()
    files.write_json(tmp_path / "a.json", {})
    assert {path.name for path in tmp_path.iterdir()} == {*others, "a.json"}


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("a.json", files.read_json),
        ("a.parquet", files.read_table),
        ("a.npz", files.read_arrays),
        ("a.npy", files.map_array),
        ("a.csv", files.read_csv),
    ],
)
def test_a_missing_or_damaged_file_is_one_line_with_the_command_that_makes_it(
    name: str, read: Callable[[Path], object], tmp_path: Path
) -> None:
    path = tmp_path / name
    with pytest.raises(InputError, match=f"{name} is missing: run `dvc repro`"):
        read(path)
    for content in damaged(path):
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf"(?s){name} is damaged \(.*\): delete it and run `dvc repro`"):
            read(path)


@pytest.mark.parametrize(
    ("content", "form", "problem"),
    [
        ("[1]", dict, r"it is \[1\], not dict"),
        ("[1]", {"a": object}, r"it is \[1\], not a JSON object"),
        ('{"b": 1}', {"b": int, "a": int}, r"it lacks 'a'"),
        ('{"a": {"b": {}}}', {"a": {str: {"c": str}}}, r"it lacks 'a\.b\.c'"),
        ('{"a": [1, true]}', {"a": [forms.NUMBER]}, r"'a\[1\]' is True, not int or float"),
        ('{"a": [1]}', {"a": [int, int]}, r"'a' is \[1\], not a list of 2"),
        ('{"a": null}', {"a": {str: int}}, r"'a' is None, not a JSON object"),
    ],
)
def test_json_of_another_form_is_damaged(content: str, form: object, problem: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InputError, match=rf"a\.json is damaged \({problem}\): delete it"):
        files.read_json(tmp_path / "a.json", form)


def test_an_archive_without_an_array_is_damaged(tmp_path: Path) -> None:
    files.write_arrays(tmp_path / "a.npz", {"b": np.zeros(1)})
    assert files.read_arrays(tmp_path / "a.npz", ["b"]).keys() == {"b"}
    with pytest.raises(InputError, match=r"a\.npz is damaged \(it lacks 'a'\)"):
        files.read_arrays(tmp_path / "a.npz", ["a", "b"])


def test_a_merge_conflict_in_the_middle_of_a_table_is_no_value(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("seed,loss\n0,1.5\n<<<<<<< HEAD\n0,1.25\n=======\n0,1.75\n>>>>>>> other\n")
    with pytest.raises(InputError, match=r"a\.csv is damaged \(it has an unresolved git merge conflict\): delete it"):
        files.read_csv(tmp_path / "a.csv")


def test_a_table_of_a_million_columns_is_refused_before_pandas_reads_it(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("," * 999_999)
    with pytest.raises(
        InputError, match=r"a\.csv is damaged \(its first line has 1000000 columns; at most 10000 are read\): delete it"
    ):
        files.read_csv(tmp_path / "a.csv")


def test_an_archive_that_memory_does_not_hold_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_much(archive: object, name: str) -> None:
        raise MemoryError("Unable to allocate output buffer.")

    files.write_arrays(tmp_path / "a.npz", {"a": np.zeros(3)})
    monkeypatch.setattr(npy, "read_member", too_much)
    with pytest.raises(InputError, match=r"a\.npz is damaged \(it unpacks to more than memory holds\): delete it"):
        files.read_arrays(tmp_path / "a.npz")


def test_better_advice_takes_the_place_of_the_general_one(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught, files.advising("ask somebody"):
        files.read_json(tmp_path / "a.json")
    assert str(caught.value) == f"{tmp_path}/a.json is missing: ask somebody"


def damaged(path: Path) -> list[bytes]:
    """Return damaged contents of a file: empty, cut in half (CSV: invalid UTF-8), and with a Git conflict."""
    table = pd.DataFrame({"id": range(100)})
    files.write_json(path.with_suffix(".json"), table["id"].tolist())
    files.write_table(path.with_suffix(".parquet"), table)
    files.write_arrays(path.with_suffix(".npz"), {"id": table["id"].to_numpy()})
    np.save(path.with_suffix(".npy"), table["id"].to_numpy())
    if path.suffix == ".csv":  # half of a CSV file is a valid one
        return [b"", b"<<<<<<< HEAD\nid\n", b"id\n\xff\n"]
    sound = path.read_bytes()
    path.unlink()
    return [b"", sound[: len(sound) // 2], b"<<<<<<< HEAD\n" + sound]


def test_an_unusable_file_is_told_by_a_worker_process_too(tmp_path: Path) -> None:
    with pytest.raises(UnusableFileError) as caught:
        files.read_json(tmp_path / "a.json")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.problem) == (str(caught.value), caught.value.problem)


def test_a_file_without_permission_is_not_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(IsADirectoryError):
        files.read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("what\n is wrong"), "error: what is wrong\n"),
        (OSError(errno.ENOSPC, "No space left on device", "x.npy"), "error: the disk is full while writing x.npy:"),
        (OSError(errno.ENOSPC, "No space left on device"), "error: the disk is full: free some space"),
        (PermissionError(errno.EACCES, "Permission denied", "x.npy"), "error: x.npy: Permission denied\n"),
        (OSError("no number"), "error: no number\n"),
        (BrokenPipeError(), "error: BrokenPipeError\n"),
        (InputError("see http://me:a:b/c@d@host:80/x@ or http://host"), "error: see http://me:***@ or http://host\n"),
        (
            InputError("at postgresql://h/db?user=me&password=a@b&sslmode=off, x?token=1"),
            "error: at postgresql://h/db?user=me&password=***&sslmode=off, x?token=***\n",
        ),
        (InputError("no http://host:80/x, x@y, http://me@host"), "error: no http://host:80/x, x@y, http://me@host\n"),
        (
            shutil.Error([("a", "b/a", "[Errno 28] No space: 'a'"), ("c", "b/c", "")]),
            "error: the disk is full while writing b/a",
        ),
        (shutil.Error([("a", "b/a", "[Errno 13] Not allowed")]), "error: b/a: Permission denied\n"),
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


def test_a_directory_where_a_file_is_due_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(SystemExit, match="2"):
        guarded(lambda: files.write_json(tmp_path / "a.json", {}))
    assert capsys.readouterr().err == f"error: {tmp_path}/a.json: Is a directory\n"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.skipif(not Path("/proc").exists(), reason="this system has no /proc")
def test_a_place_where_nothing_can_be_written_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        guarded(lambda: files.write_json(Path("/proc/x.json"), {}))
    assert capsys.readouterr().err == "error: /proc/x.json: No such file or directory\n"


def test_ctrl_c_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit, match="130"):
        guarded(main)
    assert capsys.readouterr().err == "interrupted\n"


def test_a_locale_without_the_check_mark() -> None:
    script = "from terracyte.core.errors import guarded; guarded(lambda: print('✓ 5'))"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=ENVIRONMENT | {"PYTHONIOENCODING": "latin-1"}, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"? 5\n", b"")


def test_a_bug_keeps_its_traceback() -> None:
    def main() -> None:
        raise KeyError("denied")

    with pytest.raises(KeyError):
        guarded(main)
