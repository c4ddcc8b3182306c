"""Send inputs to nodes that share no disk with this machine, in chunks, so that no file has to fit into memory."""

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

_CHUNK_BYTES = 2**25

# `Put` stores a value where all nodes can get it and returns a reference to it; `Get` returns a reference's value.
Put = Callable[[Any], Any]
Get = Callable[[Any], Any]


@dataclasses.dataclass(frozen=True)
class ArrayRows:
    """Some rows of a .npy file.

    Attributes:
        shape, dtype: shape and type of the whole file's array.
        chunks: row numbers, and a reference to these rows, per chunk.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[tuple[NDArray[np.int64], Any], ...]

    def write(self, path: Path, get: Get) -> None:
        """Write the file; rows that were not sent take no space on disk and read as zeros."""
        array = np.lib.format.open_memmap(path, "w+", self.dtype, self.shape)
        for rows, chunk in self.chunks:
            array[rows] = get(chunk)
        array.flush()


@dataclasses.dataclass(frozen=True)
class WholeFile:
    """A file, as references to its chunks."""

    chunks: tuple[Any, ...]

    def write(self, path: Path, get: Get) -> None:
        """Write the file."""
        with path.open("wb") as stream:
            for chunk in self.chunks:
                stream.write(get(chunk))


@dataclasses.dataclass(frozen=True)
class Bundle:
    """Packed inputs.

    Attributes:
        name: identifies the bundle, so that nodes know whether they have unpacked it.
        contents: files, by their path in the project.
    """

    name: str
    contents: dict[Path, ArrayRows | WholeFile]

    def unpack(self, node: str, get: Get) -> Path:
        """Unpack the inputs, unless it is done already, and return their folder, which processes of one node share.

        Args:
            node: the id of this node; two nodes may run on one machine.
            get: returns the value of a reference.
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
        """Return the folder into which a node unpacks the bundle."""
        return Path(tempfile.gettempdir()) / "terracyte" / f"{self.name}-{node[:12]}"

    def remove(self, node: str) -> None:
        """Remove the unpacked bundle from a node's disk."""
        shutil.rmtree(self.folder(node), ignore_errors=True)
        self.folder(node).with_suffix(".lock").unlink(missing_ok=True)


def pack(inputs: Inputs, put: Put) -> Bundle:
    """Store the inputs, as they are now, where nodes can get them, and return the bundle of references."""
    contents: dict[Path, ArrayRows | WholeFile] = {}
    for given in inputs.files:
        for path in filter(Path.is_file, sorted(given.rglob("*"))) if given.is_dir() else [given]:
            contents[path] = WholeFile(tuple(put(chunk) for chunk in _chunks(path)))
    for path, rows in inputs.rows.items():
        array = files.map_array(path)
        step = max(1, _CHUNK_BYTES // max(array[:1].nbytes, 1))
        parts = [np.sort(rows)[start : start + step] for start in range(0, len(rows), step)]
        contents[path] = ArrayRows(array.shape, array.dtype, tuple((part, put(array[part])) for part in parts))
    return Bundle(uuid.uuid4().hex[:12], contents)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            yield chunk
