"""Read images from the source that experiment.yaml names."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from terracyte.core.errors import InputError
from terracyte.ingest.sources.source import Batch, Reader
from terracyte.params import Source
from terracyte.tasks.task import Task


def read(task: Task, source: Source) -> Iterator[Batch]:
    """Read the source that experiment.yaml declares, batch by batch.

    Raises:
        InputError: the source cannot be used; the message names the file, the place in it, the value
            and what to do.
    """
    return _reader(source.source).read(task, source)


def unlabelled(task: Task, source: Source) -> Iterator[NDArray[np.uint8]]:
    """Read the images whose targets the declared source withholds, batch by batch; there may be none.

    Yields:
        (b, h, w, c), 0-255, in the order of the source.

    Raises:
        InputError: see `read`.
    """
    return _reader(source.source).unlabelled(task, source)


def _reader(name: str) -> Reader:
    # Only the source in use is imported: each brings libraries that the others do not need.
    match name:
        case "sample":
            from terracyte.ingest.sources import sample

            return sample
        case "challenge":
            from terracyte.ingest.sources import challenge

            return challenge
        case "folder":
            from terracyte.ingest.sources import folder

            return folder
        case "medmnist":
            from terracyte.ingest.sources import medmnist

            return medmnist
        case "npz":
            from terracyte.ingest.sources import npz_file

            return npz_file
    raise InputError(f"experiment.yaml: the source '{name}' has no reader")
