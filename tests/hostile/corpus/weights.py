"""Hostile weight files in HDF5, as Keras reads them."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.hostile.corpus.writing import Build, anywhere, written

_LAYER = "layers/dense/vars"
_SHAPES = ((4, 3), (3,))  # of the kernel and the bias of the network in `readers.weights`


def _file(*changes: Callable[[Any], None]) -> bytes:
    """Return a sound file for `readers.weights` with these changes."""
    import h5py

    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        group = file.create_group(_LAYER)
        for number, shape in enumerate(_SHAPES):
            group.create_dataset(str(number), data=np.zeros(shape, np.float32))
        for change in changes:
            change(file)
    return stream.getvalue()


def _kernel(**options: Any) -> Callable[[], bytes]:
    """Return a function that makes a file whose kernel is a dataset with these options."""

    def change(file: Any) -> None:
        del file[f"{_LAYER}/0"]
        file[_LAYER].create_dataset("0", **options)

    return lambda: _file(change)


def _link(target: Callable[[], Any]) -> Callable[[], bytes]:
    """Return a function that makes a file whose kernel is a link."""

    def change(file: Any) -> None:
        del file[f"{_LAYER}/0"]
        file[f"{_LAYER}/0"] = target()

    return lambda: _file(change)


def _soft(path: str) -> Any:
    import h5py

    return h5py.SoftLink(path)


def _external() -> Any:
    import h5py

    return h5py.ExternalLink("/etc/passwd", "/")


def _damaged_sequences() -> bytes:
    """Return a file whose kernel's values are sequences, with a length of 0 where HDF5 keeps them."""
    import h5py

    values = np.empty((4, 3), object)
    for place in np.ndindex(values.shape):
        values[place] = np.zeros(3, np.float32)
    content = bytearray(_kernel(data=values, dtype=h5py.vlen_dtype(np.float32))())
    length = content.index(b"GCOL") + 24
    content[length : length + 8] = bytes(8)
    return bytes(content)


def _without(file: Any) -> None:
    del file["layers"]


CASES: dict[str, Build] = {
    **anywhere(),
    "sound": written(_file),
    "cut": written(lambda: _file()[:-500]),
    "head-alone": written(lambda: _file()[:100]),
    "without-layers": written(lambda: _file(_without)),
    "kernel-of-petabytes": written(_kernel(shape=(2**30, 2**20), dtype="f4", chunks=(1024, 1024))),
    "kernel-of-gigabytes": written(_kernel(shape=(2**16, 2**16), dtype="f4", chunks=(1024, 1024), compression="gzip")),
    "kernel-of-texts": written(_kernel(data=[[b"a"] * 3] * 4)),
    "kernel-of-nothing": written(_kernel(shape=(0,), dtype="f4")),
    "kernel-a-number": written(_kernel(data=7.0)),
    "kernel-of-objects": written(_kernel(data=np.zeros(3, np.dtype([("a", "f4"), ("b", "S9")])))),
    "kernel-of-damaged-sequences": written(_damaged_sequences),
    "kernel-elsewhere": written(_link(_external)),
    "kernel-itself": written(_link(lambda: _soft(f"/{_LAYER}/0"))),
    "kernel-nowhere": written(_link(lambda: _soft("/nowhere"))),
}
