"""Read images from the source that experiment.yaml names."""

import importlib
from collections.abc import Iterator
from typing import cast

import numpy as np
from numpy.typing import NDArray

from terracyte.ingest.sources.source import Batch, Reader
from terracyte.params import Source
from terracyte.tasks.task import Task


def read(task: Task, source: Source) -> Iterator[Batch]:
    """Read the source that experiment.yaml declares, batch by batch.

    Raises:
        InputError: the source cannot be used; the message names the file, the place in it, the value
            and what to do.
    """
    return _reader(source).read(task, source)


def unlabelled(task: Task, source: Source) -> Iterator[NDArray[np.uint8]]:
    """Read the images whose targets the declared source withholds, batch by batch; there may be none.

    Yields:
        (b, h, w, c), 0-255, in the order of the source.

    Raises:
        InputError: see `read`.
    """
    return _reader(source).unlabelled(task, source)


def _reader(source: Source) -> Reader:
    # Only the source in use is imported: each brings libraries that the others do not need.
    name = "npz_file" if source.source == "npz" else source.source
    return cast(Reader, importlib.import_module(f"{__name__}.{name}"))
