"""Models on disk, in Keras' own format."""

import itertools
import json
import re
import zipfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from terracyte.core.errors import InputError
from terracyte.core.files import atomic

_METADATA, _CONFIG = "metadata.json", "config.json"
# Numbers of the process's objects and of Sequential's nameless inputs, which Keras only compares.
_COUNTED = (re.compile(rb'(?<="shared_object_id": )\d+'), re.compile(rb'(?<="input_layer_)\d+(?=")'))


def write_model(path: Path, model: keras.Model) -> None:
    """Write `model` (architecture and weights, no optimizer) atomically; the same model gives the same bytes.

    Keras puts the clock into the archive's entries and its metadata, and memory addresses and what the process
    has built before into its configuration: all are replaced.
    """
    with atomic(path) as temporary:
        model.save(temporary)
        with zipfile.ZipFile(temporary) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
        metadata = json.loads(entries[_METADATA])
        entries[_METADATA] = json.dumps({**metadata, "date_saved": ""}).encode()
        entries[_CONFIG] = _renumbered(entries[_CONFIG])
        with zipfile.ZipFile(temporary, "w") as archive:
            for name, content in entries.items():
                # a ZipInfo of its own carries the earliest date of the format
                archive.writestr(zipfile.ZipInfo(name), content)


def _renumbered(config: bytes) -> bytes:
    """The configuration with whatever Keras only compares counted from 1."""
    for pattern in _COUNTED:
        config = pattern.sub(_counter(), config)
    return config


def _counter() -> Callable[[re.Match[bytes]], bytes]:
    numbers: defaultdict[bytes, int] = defaultdict(itertools.count(1).__next__)
    return lambda found: str(numbers[found[0]]).encode()


def read_model(path: Path) -> keras.Model:
    """Read a model; nothing in the file is executed.

    Raises:
        InputError: the file is missing or no Keras model.
    """
    try:
        model: Any = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        problem = "cannot be read as a Keras model" if path.exists() else "is missing"
        raise InputError(f"{path} {problem}: train it again with `dvc repro`") from error
    return model
