"""Inputs on their way to nodes that share no disk with this one: in pieces, so that no file needs to fit a memory."""

import dataclasses
import fcntl
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terracyte.compute.jobs import Inputs
from terracyte.core import files

_PIECE = 2**25  # bytes

# Puts something where all nodes can get it, and gets it from there.
Put = Callable[[Any], Any]
Get = Callable[[Any], Any]


@dataclasses.dataclass(frozen=True)
class Rows:
    """Some rows of a .npy file.

    Attributes:
        shape, dtype: of the whole file.
        pieces: row numbers, and what `Put` made of the rows.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    pieces: tuple[tuple[NDArray[np.int64], Any], ...]

    def write(self, path: Path, get: Get) -> None:
        """Write the file; of rows that did not travel the disk keeps nothing, and they read as zeros."""
        array = np.lib.format.open_memmap(path, "w+", self.dtype, self.shape)
        for rows, piece in self.pieces:
            array[rows] = get(piece)
        array.flush()


@dataclasses.dataclass(frozen=True)
class Whole:
    """A whole file, as what `Put` made of its pieces."""

    pieces: tuple[Any, ...]

    def write(self, path: Path, get: Get) -> None:
        """Write the file."""
        with path.open("wb") as stream:
            for piece in self.pieces:
                stream.write(get(piece))


@dataclasses.dataclass(frozen=True)
class Parcel:
    """Packed inputs.

    Attributes:
        name: by which nodes know whether they have unpacked it.
        contents: by their path in the project.
    """

    name: str
    contents: dict[Path, Rows | Whole]

    def unpack(self, node: str, get: Get) -> Path:
        """The folder with the inputs; processes of one node share it.

        Args:
            node: a name of this node: two of them may run on one machine.
            get: see above.
        """
        folder = self.folder(node)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                with files.atomic_folder(folder) as temporary:
                    for path, content in self.contents.items():
                        (temporary / path).parent.mkdir(parents=True, exist_ok=True)
                        content.write(temporary / path, get)
        return folder

    def folder(self, node: str) -> Path:
        """Where a node unpacks it."""
        return Path(tempfile.gettempdir()) / "terracyte" / f"{self.name}-{node[:12]}"

    def remove(self, node: str) -> None:
        """Take it from a node's disk."""
        shutil.rmtree(self.folder(node), ignore_errors=True)
        self.folder(node).with_suffix(".lock").unlink(missing_ok=True)


def pack(inputs: Inputs, put: Put) -> Parcel:
    """Put the inputs, as they are now, where nodes can get them."""
    whole = {path: Whole(tuple(map(put, _pieces(path)))) for given in inputs.files for path in _files(given)}
    rows = {path: _pack_rows(path, chosen, put) for path, chosen in inputs.rows.items()}
    return Parcel(uuid.uuid4().hex[:12], {**whole, **rows})


def _files(path: Path) -> Iterator[Path]:
    return filter(Path.is_file, sorted(path.rglob("*"))) if path.is_dir() else iter([path])


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while piece := stream.read(_PIECE):
            yield piece


def _pack_rows(path: Path, rows: NDArray[np.int64], put: Put) -> Rows:
    array = np.load(path, mmap_mode="r")
    step = max(1, _PIECE // max(array[:1].nbytes, 1))
    parts = [np.sort(rows)[start : start + step] for start in range(0, len(rows), step)]
    return Rows(array.shape, array.dtype, tuple((part, put(array[part])) for part in parts))
