"""Models on disk, in Keras' own format."""

import json
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import keras

from terracyte.core.errors import UnusableFileError
from terracyte.core.files import atomic

# What Keras, h5py and zipfile throw at bytes that are no model.
_OF_VALUES = (ValueError, KeyError, TypeError, AttributeError, RuntimeError)
_DAMAGE = (*_OF_VALUES, OSError, EOFError, zipfile.BadZipFile, zlib.error)

_METADATA, _CONFIG = "metadata.json", "config.json"
# Ids that depend on what the process has built before, and of which Keras only needs that they differ: those of shared
# objects, and those in the default names of Sequential's inputs.
_PROCESS_IDS = (re.compile(rb'(?<="shared_object_id": )\d+'), re.compile(rb'(?<="input_layer_)\d+(?=")'))


def write_model(path: Path, model: keras.Model) -> None:
    """Write `model` (architecture and weights, no optimizer) atomically; the same model gives the same bytes.

    Keras writes the time into the archive's entries and its metadata, and ids that differ from process to process into
    its configuration: both are replaced.
    """
    with atomic(path) as temporary:
        model.save(temporary)
        with zipfile.ZipFile(temporary) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
        metadata = json.loads(entries[_METADATA])
        entries[_METADATA] = json.dumps({**metadata, "date_saved": ""}).encode()
        for ids in _PROCESS_IDS:
            entries[_CONFIG] = _renumbered(entries[_CONFIG], ids)
        with zipfile.ZipFile(temporary, "w") as archive:
            for name, content in entries.items():
                # a fresh ZipInfo carries the earliest date of the format
                archive.writestr(zipfile.ZipInfo(name), content)


def _renumbered(config: bytes, ids: re.Pattern[bytes]) -> bytes:
    """The configuration with its `ids` counted from 1, in order of appearance."""
    numbers = {old: str(new).encode() for new, old in enumerate(dict.fromkeys(ids.findall(config)), start=1)}
    return ids.sub(lambda match: numbers[match[0]], config)


def read_model(path: Path) -> keras.Model:
    """Read a model without executing code from the file.

    Raises:
        UnusableFileError: the file is missing or not a Keras model.
    """
    advice = "train it again with `dvc repro`"
    try:
        path.open("rb").close()  # Keras calls a file missing that may not be read
        model: Any = keras.saving.load_model(path, compile=False, safe_mode=True)
    except FileNotFoundError as error:
        raise UnusableFileError(f"{path} is missing", advice) from error
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # no damage: no permission, say
        raise UnusableFileError(f"{path} cannot be read as a Keras model", advice) from error
    return model
