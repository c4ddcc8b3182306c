"""Writes the submission of a task with labels: a zip with `model.py`, which the challenge runs, and the model."""

import io
import zipfile
from pathlib import Path

import h5py
import numpy as np

from terracyte.core import files

_CODE = Path(__file__).with_name("model.py")
_WEIGHTS = "model.weights.h5"  # in the archive that Keras writes
_READABLE = 0o644 << 16  # file permissions: zip keeps them in the attributes' upper 16 bits


def write(model: Path, path: Path) -> None:
    """Pack the code and a saved model, atomically; the same model gives the same bytes.

    Challenges limit the size of a submission, so the weights are stored in half precision, which Keras reads into
    variables of the model's own precision.
    """
    with files.atomic(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, content in (("model.py", _CODE.read_bytes()), ("model.keras", _halved(model))):
            # an explicit ZipInfo has the format's earliest date instead of the current time
            entry = zipfile.ZipInfo(name)
            entry.external_attr = _READABLE
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)


def _halved(model: Path) -> bytes:
    """Return the bytes of a saved model with its weights in half precision."""
    halved = io.BytesIO()
    with zipfile.ZipFile(model) as source, zipfile.ZipFile(halved, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(zipfile.ZipInfo(name), _half_weights(content) if name == _WEIGHTS else content)
    return halved.getvalue()


def _half_weights(content: bytes) -> bytes:
    """Copy an HDF5 file with float32 arrays in half precision, except arrays with values beyond its range."""
    halved = io.BytesIO()
    with h5py.File(io.BytesIO(content)) as source, h5py.File(halved, "w") as target:

        def copy(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Dataset):
                values = item[()]
                if values.dtype == np.float32 and np.max(np.abs(values), initial=0) <= np.finfo(np.float16).max:
                    values = values.astype(np.float16)
                copied = target.create_dataset(name, data=values)
            else:
                copied = target.require_group(name)
            copied.attrs.update(item.attrs)

        source.visititems(copy)
        target.attrs.update(source.attrs)
    return halved.getvalue()
