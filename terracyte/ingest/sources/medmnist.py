"""BloodMNIST of MedMNIST v2+ (arXiv 2110.14795), downloaded once into `data/downloads/`.

The labels are those of the challenge: 0 basophil … 7 platelet. MedMNIST's splits are joined; `balance` makes new ones.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from terracyte import params
from terracyte.core import paths
from terracyte.core.download import fetch
from terracyte.core.errors import InputError
from terracyte.ingest.sources import npz_file
from terracyte.ingest.sources.source import Batch
from terracyte.params import Source
from terracyte.tasks.task import Task


def read(task: Task, source: Source) -> Iterator[Batch]:
    """Read BloodMNIST, resized to the task's size.

    Raises:
        InputError: the task has masks, the index is unusable, the download failed, or a file is damaged.
    """
    if task.dense:
        raise InputError(
            f"experiment.yaml: 'sources.{task.name}.source' is 'medmnist', which has no masks; choose another source"
        )
    url, md5 = _index_entry(Path(source.path), source.download_size)
    found = npz_file.pairs(fetch(url, md5, paths.downloads()), "labels")  # the test split first
    return npz_file.batches(task, source, [dataclasses.replace(pair, split="") for pair in reversed(found)])


def unlabelled(task: Task, source: Source) -> Iterator[NDArray[np.uint8]]:
    """Return an empty iterator: all of BloodMNIST is labelled."""
    return iter(())


def _index_entry(path: Path, size: int) -> tuple[str, str]:
    index = params.read_yaml(path)
    entry = index.get(size) if isinstance(index, dict) else None
    url, md5 = (entry.get(key) if isinstance(entry, dict) else None for key in ("url", "md5"))
    if not (isinstance(url, str) and isinstance(md5, str)):
        raise InputError(f"{path} must give 'url' and 'md5' for images of {size}x{size} pixels")
    return url, md5
