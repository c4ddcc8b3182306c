"""Arrays of an .npz file, chunk by chunk: reading a file of many gigabytes takes a few megabytes of memory.

Nothing is ever unpickled: only the header and the plain numbers behind it are read. Arrays that cannot be read in
chunks have a size limit, so that a small file never unpacks to more than memory holds.
"""

import dataclasses
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terracyte.core import npy, opening
from terracyte.core.errors import InputError

_CHUNK_BYTES = 16 * 2**20
MOST_ROWS = 2**24
_LARGEST_ROW = 2**27  # bytes: an image of 44 million pixels in colour
_LARGEST_WHOLE = 2**29  # bytes of an array that is read as a whole
# What zipfile and NumPy raise on damaged, encrypted or foreign files.
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, RuntimeError, OSError)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Member:
    """One array of an .npz file.

    Attributes:
        path: the file.
        key: the array's name in the file.
        shape: the whole array's shape, with at least one axis.
        dtype: integers or floats of any width and byte order, truth values, or text.
        fortran: whether the first axis varies fastest; such an array is read as a whole, since its rows are scattered.
    """

    path: Path
    key: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def where(self) -> str:
        """Return the file and the array's name, for messages."""
        return f"{self.path}: '{self.key}'"

    def chunks(self, most: int = MOST_ROWS) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (index of the first row, rows) in order; each chunk has at most 16 MiB and `most` rows, or one row.

        Raises:
            InputError: the file is truncated or damaged.
        """
        row_bytes = self.dtype.itemsize * math.prod(self.shape[1:])
        rows = max(1, min(most, _CHUNK_BYTES // row_bytes))
        at_once = len(self) if self.fortran else rows
        with _open(self.path) as archive, npy.member(archive, f"{self.key}.npy") as (_, stream):
            for start in range(0, len(self), at_once):
                shape = (min(at_once, len(self) - start), *self.shape[1:])
                data = stream.read(self.dtype.itemsize * math.prod(shape))
                block = np.frombuffer(data, self.dtype).reshape(shape, order="F" if self.fortran else "C")
                for first in range(0, len(block), rows):
                    yield start + first, block[first : first + rows]
            stream.read(1)  # reaching the end makes zipfile compare the checksum

    def read(self) -> NDArray[Any]:
        """Read the whole array, which must be small: at most 128 MiB.

        Raises:
            InputError: the file is truncated or damaged, or the array is larger.
        """
        size = self.dtype.itemsize * math.prod(self.shape)
        _check_bytes(self, "the array", "save it with a smaller type", _LARGEST_WHOLE // 4, size)
        return np.concatenate([rows for _, rows in self.chunks()])


def names(path: Path) -> list[str]:
    """Return the keys of the arrays in an .npz file.

    Raises:
        InputError: the file is missing, a folder, truncated or no .npz.
    """
    with _open(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def members(path: Path, *keys: str, text: bool = False) -> list[Member]:
    """Find arrays in an .npz file and read their headers only.

    Args:
        path: the file.
        keys: the arrays' names.
        text: allow arrays of text, too.

    Raises:
        InputError: the file is missing, a folder, truncated or no .npz; a key is missing; an array is empty,
            holds anything but what is allowed (objects are refused, never unpickled), or is too large.
    """
    present = names(path)
    if not set(keys) <= set(present):
        raise InputError(f"{path} holds the arrays {', '.join(present) or '(none)'}; needed: {', '.join(keys)}")
    with _open(path) as archive:
        return [_member(archive, path, key, text) for key in keys]


@contextmanager
def _open(path: Path) -> Iterator[zipfile.ZipFile]:
    if path.is_dir():
        raise InputError(f"{path} is a folder; name the .npz file itself")
    try:
        opening.require_file(path)
        with zipfile.ZipFile(path) as archive:
            yield archive
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing; put it there or change the path in experiment.yaml") from error
    except _DAMAGE as error:
        raise InputError(f"{path} is truncated, damaged or not an .npz file ({error}); copy it again") from error


def _member(archive: zipfile.ZipFile, path: Path, key: str, text: bool) -> Member:
    with npy.member(archive, f"{key}.npy") as (header, _):
        shape, dtype = header.shape, header.dtype
    member = Member(path=path, key=key, shape=shape, dtype=dtype, fortran=header.fortran)
    if dtype.hasobject:
        raise InputError(
            f"{member.where} is an object array, which is never unpickled; save it as numbers or text, "
            "as by labels.astype(str)"
        )
    if dtype.kind not in ("biufU" if text else "biuf"):
        raise InputError(
            f"{member.where} has type {dtype}; it must hold integers or floats{' or text' * text}, or truth values"
        )
    if math.prod(shape) * dtype.itemsize == 0 or not shape:
        raise InputError(f"{member.where} has shape {shape}: it is empty; at least one image is needed")
    if len(member) > MOST_ROWS:
        raise InputError(f"{member.where} has {len(member)} rows; at most {MOST_ROWS} are allowed: use fewer")
    require_small_rows(member)
    if header.fortran:
        _check_bytes(member, "the array, stored in Fortran order,", "save it in C order", _LARGEST_WHOLE, header.size)
    return member


def require_small_rows(member: Member) -> None:
    """Refuse an array with rows of more than 128 MiB, which are read one by one.

    Raises:
        InputError: they are larger.
    """
    size = member.dtype.itemsize * math.prod(member.shape[1:])
    _check_bytes(member, "each row", "use smaller images", _LARGEST_ROW, size)


def _check_bytes(member: Member, what: str, advice: str, most: int, size: int) -> None:
    if size > most:
        raise InputError(
            f"{member.where} has shape {member.shape} and type {member.dtype}: {what} takes {size >> 20} MiB, but at "
            f"most {most >> 20} are allowed: {advice}"
        )
