"""Read NumPy's files from untrusted sources: what a header declares is checked against the size of the file.

Nothing is unpickled, and no memory is allocated for numbers that the file does not hold.
"""

import ast
import dataclasses
import io
import math
import re
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from terracyte.core import opening

_LONGEST_HEADER = 10_000  # bytes; NumPy's own limit is the same
_VERSIONS = ((1, 0), (2, 0), (3, 0))
_LARGEST = 2**63  # bytes that can be addressed
# The most bytes that one byte of deflated data can expand to.
_HIGHEST_RATIO = 1032


@dataclasses.dataclass(frozen=True)
class Header:
    """Description of an array.

    Attributes:
        shape: the array's shape; () for a single number.
        dtype: the type of its elements.
        fortran: whether the first axis varies fastest (Fortran order).
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool

    @property
    def size(self) -> int:
        """Size of the array's data in bytes; 0 for an array of objects."""
        return 0 if self.dtype.hasobject else self.dtype.itemsize * math.prod(self.shape)


def read_header(stream: IO[bytes]) -> Header:
    """Read the header of an .npy file; the stream then stands at the numbers.

    Raises:
        ValueError: the header is malformed, or declares an impossible shape.
    """
    version = np.lib.format.read_magic(stream)
    if version not in _VERSIONS:
        raise ValueError(f"its format version {version[0]}.{version[1]} is unknown")
    length = stream.read(2 if version == (1, 0) else 4)
    if (count := int.from_bytes(length, "little")) > _LONGEST_HEADER:
        raise ValueError(f"its header has {count} bytes; at most {_LONGEST_HEADER} are read")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    text = re.sub(rb"(?<=\d)L(?=[,)])", b" ", stream.read(count))  # Python 2 wrote 10L for 10
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python warns of odd syntax
            # NumPy gives what is no literal to Python's tokenizer, which takes many seconds for some headers
            ast.literal_eval(text.decode("latin-1"))
            shape, fortran, dtype = read(io.BytesIO(length + text))
    # what Python's parser and NumPy raise on a malformed header
    except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError("its header is damaged") from error
    header = Header(shape, dtype, bool(fortran))
    if any(type(length) is not int or length < 0 for length in shape) or header.size >= _LARGEST:
        raise ValueError("its header declares an impossible shape")
    return header


def mapped(path: Path) -> NDArray[Any]:
    """Map an .npy file into memory, read-only.

    Raises:
        ValueError: it is no .npy file, holds objects, or is shorter than its header says.
        OSError: it cannot be opened.
    """
    opening.require_file(path)
    with path.open("rb") as stream:
        header, start = read_header(stream), stream.tell()
    if header.dtype.hasobject:
        raise ValueError("it holds objects, which are never unpickled")
    if path.stat().st_size < start + header.size:
        raise ValueError(f"it is too short for its shape {header.shape}")
    order: Any = "F" if header.fortran else "C"
    # not NumPy's `open_memmap`, which reads the header again in its own way
    return np.memmap(path, header.dtype, "r", start, header.shape, order)


@contextmanager
def member(archive: zipfile.ZipFile, name: str) -> Iterator[tuple[Header, IO[bytes]]]:
    """Yield the header of an array in an .npz file, and the stream of the numbers behind it.

    Raises:
        ValueError: the member is no array, is compressed by a method that NumPy does not use, or is shorter than its
            header says.
    """
    entry = archive.getinfo(name)
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("it is compressed in a way that NumPy does not know")
    with archive.open(entry) as stream:
        header = read_header(stream)
        if header.size > min(entry.file_size, _HIGHEST_RATIO * (entry.compress_size + 1)):
            raise ValueError(f"'{name}' is too short for its shape {header.shape}")
        yield header, stream


def read_member(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """Read a whole array of an .npz file.

    Raises:
        ValueError: see `member`; or the array holds objects.
    """
    with member(archive, name) as (header, stream):
        if header.dtype.hasobject:
            raise ValueError(f"'{name}' holds objects, which are never unpickled")
        array = np.frombuffer(bytearray(stream.read(header.size)), header.dtype)
        stream.read(1)  # reaching the end makes zipfile compare the checksum
        return array.reshape(header.shape, order="F" if header.fortran else "C")
