"""Atomic writes: a reader finds the old file or the new one, never half of one."""

import contextlib
import fcntl
import fnmatch
import glob
import io
import json
import os
import re
import shutil
import struct
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terracyte.core import forms, npy, opening
from terracyte.core.errors import FULL, UnusableFileError

# Errors that readers of JSON, Parquet, CSV and NumPy files raise on malformed bytes.
_OF_VALUES = (ValueError, KeyError, TypeError, RuntimeError, SyntaxError, tokenize.TokenError)
_DAMAGE = (*_OF_VALUES, OSError, EOFError, MemoryError, struct.error, zipfile.BadZipFile, zlib.error)
_ZIP64 = 45  # the version of the zip format that introduced files of more than 4 GB

# Our own CSV files have about thirty.
_MOST_COLUMNS = 10_000

# A list of numbers that json.dumps spread over lines; no JSON string holds a line break.
_NUMBERS = re.compile(r"\[\n([-+.\deE,\s]+?)\n\s*\]")


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path (same folder, same suffix) that replaces `path` on success and vanishes on failure."""
    with _temporary(path, path.suffix, _make_file) as temporary:
        try:
            yield temporary
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path, *, new: bool = False) -> Iterator[Path]:
    """Yield an empty temporary folder that replaces the folder `path` on success and vanishes on failure.

    With `new`, a folder at `path` that is not empty stays as it is, even if it appeared meanwhile (OSError).
    """
    path = path.resolve() if path.is_symlink() else path  # a symbolic link stays a link
    with _temporary(path, "", tempfile.mkdtemp) as temporary:
        try:
            yield temporary
            temporary.chmod(0o755)
            if path.exists() and not new:
                before = temporary.with_name(f"{temporary.name}-old")  # after a kill, the next writer removes it
                path.rename(before)
                temporary.rename(path)
                shutil.rmtree(before, ignore_errors=True)  # another writer may be removing it already
            else:
                temporary.rename(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _temporary(path: Path, suffix: str, make: Callable[[str, str, Path], str]) -> Iterator[Path]:
    """Make a temporary file or folder beside `path`, and remove those that killed processes left there.

    A living process holds a lock on its temporary, which the operating system releases however the process ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name.removesuffix(suffix)}.partial-"
    for other in path.parent.glob(f"{glob.escape(prefix)}*"):
        _remove_abandoned(other)
    try:
        temporary, lock = _make_locked(lambda: make(suffix, prefix, path.parent))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error  # name the target, not the temporary
    try:
        yield temporary
    except OSError as error:
        if error.errno in FULL:
            error.filename = str(path)  # a failed write names no file, or one in the temporary folder
        raise
    finally:
        os.close(lock)


def remove_abandoned(folder: Path) -> None:
    """Remove the temporaries that killed processes left below a folder: their targets may never be written again."""
    for parent, folders, names in os.walk(folder):
        for name in fnmatch.filter([*folders, *names], ".*.partial-*"):
            _remove_abandoned(Path(parent, name))


def _remove_abandoned(temporary: Path) -> None:
    with contextlib.suppress(OSError):  # locked, gone meanwhile, or not ours to remove
        lock = os.open(temporary, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink()
        finally:
            os.close(lock)


def _make_locked(make: Callable[[], str]) -> tuple[Path, int]:
    while True:
        temporary = Path(make())
        # Another process may take it for abandoned and remove it before it is locked: then make another one.
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(temporary, os.O_RDONLY)
            with contextlib.suppress(OSError):  # a file system without locks: nothing is ever removed there
                fcntl.flock(lock, fcntl.LOCK_EX)
            if temporary.exists():
                return temporary, lock
            os.close(lock)


def _make_file(suffix: str, prefix: str, folder: Path) -> str:
    handle, name = tempfile.mkstemp(suffix, prefix, folder)
    os.close(handle)
    return name


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as readable JSON with sorted keys: the same value gives the same bytes. NaN is refused."""
    spread = json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    text = _NUMBERS.sub(lambda match: f"[{' '.join(match[1].split())}]", spread)
    write_text(path, text + "\n")


def read_text(path: Path) -> str:
    """Read a UTF-8 file.

    Raises:
        UnusableFileError: it is missing or not UTF-8.
    """
    with _reading(path):
        return path.read_text(encoding="utf-8")


def read_json(path: Path, form: forms.Form = object) -> Any:
    """Read a JSON file.

    Args:
        path: the file's path.
        form: the form its content must have, such as `{"a": [str]}`; see `forms`.

    Raises:
        UnusableFileError: it is missing or no JSON, or has another form.
    """
    with _reading(path):
        value = json.loads(path.read_text(encoding="utf-8"))
        forms.check(value, form)
        return value


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a Parquet file without an index, atomically; the same rows give the same bytes."""
    with atomic(path) as temporary:
        table.to_parquet(temporary, index=False)


def read_table(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a Parquet file, or some of its columns.

    Raises:
        UnusableFileError: it is missing or no Parquet file, or lacks one of the columns.
    """
    with _reading(path):
        return pd.read_parquet(path, columns=None if columns is None else list(columns))


def read_csv(path: Path) -> pd.DataFrame:
    """Read a CSV file with a header row.

    Raises:
        UnusableFileError: it is missing or no CSV, or has a merge conflict or too many columns.
    """
    with _reading(path):
        text = path.read_text(encoding="utf-8")
        if has_conflict(text):  # pandas would take the conflict markers for values
            raise ValueError("it has an unresolved git merge conflict")
        if (columns := 1 + text.partition("\n")[0].count(",")) > _MOST_COLUMNS:  # pandas would take minutes
            raise ValueError(f"its first line has {columns} columns; at most {_MOST_COLUMNS} are read")
        return pd.read_csv(io.StringIO(text))


def has_conflict(text: str) -> bool:
    """Return whether a text has git's markers of a merge conflict."""
    return any(line.startswith("<<<<<<< ") for line in text.splitlines())


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a CSV file without an index, atomically."""
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


class _Entry(zipfile.ZipInfo):
    """A zip entry that may exceed 4 GB, in the bytes of Python 3.11.4 and later; earlier versions write other bytes."""

    def FileHeader(self, zip64: bool | None = None) -> bytes:  # noqa: N802  # zipfile calls it
        header = bytearray(super().FileHeader(zip64))
        self.create_version = self.extract_version = _ZIP64
        header[4:6] = _ZIP64.to_bytes(2, "little")
        header[18:26] = b"\xff" * 8  # the place of both sizes, which the extra field holds
        return bytes(header)


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a compressed .npz file, atomically; the same arrays give the same bytes in any Python 3.11."""
    with atomic(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in arrays.items():
            # An entry made from its name has the earliest date of the zip format, not the current time.
            entry = _Entry(f"{name}.npy")
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, array, allow_pickle=False)


def read_arrays(path: Path, keys: Sequence[str] = ()) -> dict[str, NDArray[Any]]:
    """Read all arrays of an .npz file; nothing is ever unpickled.

    Args:
        path: the file's path.
        keys: names of arrays that the file must hold.

    Raises:
        UnusableFileError: it is missing or no .npz file, or lacks one of the arrays.
    """
    with _reading(path), path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
        stream.seek(0)
        if stream.read(2) != b"PK":  # zipfile would skip any bytes before the archive
            raise ValueError("it does not begin like an .npz file")
        arrays = {name.removesuffix(".npy"): npy.read_member(archive, name) for name in archive.namelist()}
        if lacking := [key for key in keys if key not in arrays]:
            raise ValueError(f"it lacks '{lacking[0]}'")
        return arrays


def map_array(path: Path) -> NDArray[Any]:
    """Map an .npy file into memory, read-only.

    Raises:
        UnusableFileError: it is missing or no .npy file, or shorter than its header says.
    """
    with _reading(path):
        return npy.mapped(path)


@contextmanager
def advising(advice: str) -> Iterator[None]:
    """Within the block, let an `UnusableFileError` give this advice; the default is to make the file again."""
    try:
        yield
    except UnusableFileError as error:
        raise UnusableFileError(error.problem, advice) from error


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        opening.require_file(path)
        yield
    except FileNotFoundError as error:
        raise UnusableFileError(f"{path} is missing", "run `dvc repro`, which makes it") from error
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
            raise  # no damage but, say, no permission; a read at an impossible offset, which is damage, names no file
        why = "it unpacks to more than memory holds" if isinstance(error, MemoryError) else " ".join(str(error).split())
        raise UnusableFileError(f"{path} is damaged ({why})") from error
