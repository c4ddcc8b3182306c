"""The raw form: what every source is brought into, and what nothing ever rewrites."""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from terracyte import files, paths
from terracyte.data.manifest import describe
from terracyte.data.sources.source import Batch
from terracyte.errors import InputError
from terracyte.tasks.task import Task


class GrowingArray:
    """A .npy file of bytes that grows along its first axis, at constant memory.

    The header of a .npy file leaves room for the digits of the first axis, so it is written again at the end.
    """

    def __init__(self, stream: IO[bytes], row_shape: tuple[int, ...]) -> None:
        self._stream, self._row_shape, self._rows = stream, row_shape, 0
        self._write_header()

    def append(self, rows: NDArray[np.uint8]) -> None:
        """Append (b, *row_shape) rows."""
        self._stream.write(np.ascontiguousarray(rows).data)
        self._rows += len(rows)

    def finish(self) -> None:
        """Write the final number of rows."""
        self._stream.seek(0)
        self._write_header()

    def _write_header(self) -> None:
        shape = (self._rows, *self._row_shape)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._stream, header)


def write(task: Task, batches: Iterable[Batch], folder: Path, origin: str) -> None:
    """Write the raw form: images, masks (dense tasks), manifest, and planted defects where they are known.

    Args:
        task: says what the images must look like.
        batches: of a source.
        folder: an empty folder that becomes `paths.raw(task.name)`.
        origin: the source's path, for messages.

    Raises:
        InputError: a batch is not of the task's form, a label or a pixel's class is unknown, a class is
            absent, or there is no image.
    """
    rows = _write_arrays(task, batches, folder, origin)
    images = np.load(folder / paths.images(task.name).name, mmap_mode="r")
    masks = np.load(folder / paths.masks(task.name).name, mmap_mode="r") if task.dense else None
    defects = rows.pop("defect")
    manifest = pd.concat([rows, describe(task, images, masks)], axis=1)
    files.write_table(folder / paths.raw_manifest(task.name).name, manifest)
    if (defects != "").any():
        planted = pd.DataFrame({"id": rows["id"], "defect": defects})
        files.write_table(folder / paths.planted(task.name).name, planted)


def _write_arrays(task: Task, batches: Iterable[Batch], folder: Path, origin: str) -> pd.DataFrame:
    height, width, _ = task.image_shape
    tables: list[pd.DataFrame] = []
    counts = np.zeros(len(task.classes), np.int64)
    with ExitStack() as stack:
        images = GrowingArray(_create(stack, folder / paths.images(task.name).name), task.image_shape)
        masks = None
        if task.dense:
            masks = GrowingArray(_create(stack, folder / paths.masks(task.name).name), (height, width))
        progress = stack.enter_context(tqdm(desc=f"reading {origin}", unit="image", disable=None))
        for batch in batches:
            targets = _checked_targets(task, batch, origin)
            images.append(batch.images)
            if masks is not None:
                masks.append(targets)
            counts += np.bincount(targets.reshape(-1), minlength=len(counts))
            tables.append(_rows(task, batch, targets))
            progress.total = batch.total
            progress.update(len(batch.images))
        images.finish()
        if masks is not None:
            masks.finish()
    ...
