"""PyTorch's legacy weight files (.pth), read without PyTorch and without running what they name.

Such a file is four pickles (a magic number, the version, the machine, the tensors), a fifth with the storages' keys,
and then each storage: its number of values, and the values. A pickle may name any function to be called; this reader
accepts OrderedDict, storage types and the function that makes a tensor of a storage, and refuses all others.
"""

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from terracyte.core import opening
from terracyte.core.errors import InputError

_MAGIC = 0x1950A86A20F9469CFC6C
# What pickle and numpy raise on foreign or truncated bytes.
_OF_VALUES = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
_DAMAGE = (*_OF_VALUES, pickle.UnpicklingError, EOFError, MemoryError)
_TYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


def read(path: Path) -> dict[str, np.ndarray]:
    """Return the file's arrays by name, in the file's order.

    Raises:
        InputError: the file is missing, damaged, of another format, or names anything but tensors.
    """
    try:
        opening.require_file(path)
        with path.open("rb") as stream:
            return _read(stream, path.stat().st_size)
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing") from error
    except _DAMAGE as error:
        raise InputError(f"{path} is not a PyTorch file of plain tensors, or is damaged ({error})") from error


def _read(stream: BinaryIO, size: int) -> dict[str, np.ndarray]:
    """Read a file of `size` bytes."""
    if _Unpickler(stream, size).load() != _MAGIC:
        raise ValueError("another format")
    for _ in ("version", "machine"):
        _Unpickler(stream, size).load()
    unpickler = _Unpickler(stream, size)
    tensors = unpickler.load()
    for key in _Unpickler(stream, size).load():
        storage = unpickler.storages[key]
        (count,) = np.frombuffer(stream.read(8), "<i8")
        if count != storage.size:
            raise ValueError(f"a storage has {count} values instead of {storage.size}")
        storage[:] = np.frombuffer(stream.read(storage.nbytes), storage.dtype)
    return dict(tensors)


class _Unpickler(pickle.Unpickler):
    """An unpickler that accepts tensors only."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        super().__init__(stream)
        self._left = size  # bytes left for storages, which lie in the file one after the other
        self.storages: dict[str, np.ndarray] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in _TYPES:
            return _TYPES[name]
        raise pickle.UnpicklingError(f"it names {module}.{name}")

    def persistent_load(self, pid: Any) -> np.ndarray:
        # ("storage", its type, its key, its device, its number of values, None)
        _, dtype, key, _, size, _ = pid
        if key not in self.storages:
            self._left -= size * dtype.itemsize
            if size < 0 or self._left < 0:
                raise ValueError(f"a storage has {size} values, which the file does not hold")
            self.storages[key] = np.zeros(size, dtype)
        return self.storages[key]


def _tensor(
    storage: np.ndarray, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
) -> np.ndarray:
    """Return a view of the storage, whose values are read later.

    Raises:
        ValueError: the tensor would reach beyond its storage.
    """
    steps = [step * (size - 1) for step, size in zip(strides, shape, strict=True)]
    if min([offset, *steps]) < 0 or offset + sum(steps) >= storage.size:
        raise ValueError("a tensor reaches beyond its storage")
    strides_in_bytes = [step * storage.itemsize for step in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, strides_in_bytes, writeable=False)
