"""Hostile weight files in PyTorch's legacy format."""

import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np

from tests.hostile.corpus.writing import Build, anywhere, written

_MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
_VERSION = pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)


def _text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def _number(value: int) -> bytes:
    return b"\x8a" + bytes([len(content := value.to_bytes(9, "little", signed=True))]) + content


def _tuple(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def _named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def tensor(
    count: int = 4,
    offset: int = 0,
    shape: tuple[int, ...] = (2, 2),
    strides: tuple[int, ...] = (2, 1),
    key: str = "0",
    kind: bytes = _named("torch", "FloatStorage"),
) -> bytes:
    """Return the pickle opcodes that make a tensor from a storage."""
    storage = _tuple(_text("storage"), kind, _text(key), _text("cpu"), _number(count), b"N") + b"Q"
    sizes, steps = (_tuple(*map(_number, each)) for each in (shape, strides))
    return (
        _named("torch._utils", "_rebuild_tensor_v2")
        + _tuple(storage, _number(offset), sizes, steps, b"\x89", b"N")
        + b"R"
    )


def file(
    tensors: bytes, keys: Any = ("0",), count: int = 4, data: bytes = np.arange(4, dtype="<f4").tobytes()
) -> bytes:
    """A weight file of one tensor, `weight`."""
    content = b"\x80\x02}(" + _text("weight") + tensors + b"u."
    return _MAGIC + _VERSION + content + pickle.dumps(list(keys), 2) + struct.pack("<q", count) + data


class _Touches:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("pwned"),)


CASES: dict[str, Build] = {
    **anywhere(),
    "sound": written(file(tensor())),
    "pickle-that-runs": written(_MAGIC + _VERSION + pickle.dumps(_Touches())),
    "pickle-that-runs-first": written(pickle.dumps(_Touches())),
    "names-eval": written(file(_named("builtins", "eval") + _tuple(_text("1")) + b"R")),
    "storage-absurd": written(file(tensor(2**60), count=2**60)),
    "storage-of-terabytes": written(file(tensor(2**40), count=2**40)),
    "storage-negative": written(file(tensor(-4), count=-4)),
    "storage-a-text": written(file(tensor(kind=_text("FloatStorage")))),
    "storage-unknown": written(file(tensor(kind=_named("torch", "HalfStorage")))),
    "tensor-too-large": written(file(tensor(shape=(2**40, 2**40)))),
    "tensor-of-no-steps": written(file(tensor(shape=(2**40, 2**20), strides=(0, 0)))),
    "tensor-negative": written(file(tensor(shape=(-1, 2)))),
    "tensor-empty": written(file(tensor(shape=(0, 2)))),
    "tensor-before": written(file(tensor(offset=-2))),
    "tensor-behind": written(file(tensor(offset=1))),
    "steps-negative": written(file(tensor(strides=(-2, 1)))),
    "steps-absurd": written(file(tensor(strides=(2**62, 1)))),
    "key-unknown": written(file(tensor(), keys=["9"])),
    "keys-no-list": written(file(tensor(), keys={"0": 1})[:-24]),
    "count-other": written(file(tensor(), count=5)),
    "data-cut": written(file(tensor(), data=b"123")),
    "no-mapping": written(_MAGIC + _VERSION + pickle.dumps(7, 2) + pickle.dumps([], 2)),
    "mapping-of-texts": written(_MAGIC + _VERSION + pickle.dumps({"weight": "x"}, 2) + pickle.dumps([], 2)),
    "state-of-a-type": written(file(_named("torch", "FloatStorage") + _tuple(*[_number(7)] * 9) + b"b")),
    "state-of-a-mapping": written(
        file(_named("collections", "OrderedDict") + b")R" + b"}(" + _text("items") + _number(7) + b"ub")
    ),
    "memo-absurd": written(_MAGIC + _VERSION + b"\x80\x02j\xff\xff\xff\xff."),
    "text-of-terabytes": written(_MAGIC + _VERSION + b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b"x"),
    "frame-of-terabytes": written(_MAGIC + _VERSION + b"\x80\x04\x95" + struct.pack("<Q", 2**40) + b"x"),
    "stack-empty": written(_MAGIC + _VERSION + b"\x80\x02R."),
    "deep": written(_MAGIC + _VERSION + b"\x80\x02" + b"(" * 9000 + b"t" * 9000 + b"."),
    "number-of-megabytes": written(
        _MAGIC + _VERSION + b"\x80\x02\x8b" + struct.pack("<i", 10**6) + b"\x7f" * 10**6 + b"."
    ),
    "zip-of-today": written(b"PK\x03\x04" + bytes(99)),
}
