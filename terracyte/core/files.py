"""Atomic writes: a reader finds the old file or the new one, never half of one."""

import json
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# A list of numbers that json.dumps spread over lines; no JSON string holds a line break.
_NUMBERS = re.compile(r"\[\n([-+.\deE,\s]+?)\n\s*\]")


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path (same folder, same suffix) that replaces `path` on success and vanishes on failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder that replaces the folder `path` on success and vanishes on failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        if path.exists():
            shutil.rmtree(path)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as readable JSON with sorted keys: the same value gives the same bytes. NaN is refused."""
    spread = json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    text = _NUMBERS.sub(lambda match: f"[{' '.join(match[1].split())}]", spread)
    write_text(path, text + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a Parquet file without an index, atomically; the same rows give the same bytes."""
    with atomic(path) as temporary:
        table.to_parquet(temporary, index=False)


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a CSV file without an index, atomically."""
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a compressed .npz file, atomically; unlike `numpy.savez`, the same arrays give the same bytes."""
    with atomic(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in arrays.items():
            # A ZipInfo of its own carries the earliest date of the format, not the clock's.
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, array, allow_pickle=False)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read all arrays of an .npz file; nothing is ever unpickled."""
    with np.load(path, allow_pickle=False) as archive:
        return dict(archive)
