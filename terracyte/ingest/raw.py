"""Write the raw form into which every source is converted; no later stage changes it."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from terracyte.core import files, paths
from terracyte.core.errors import InputError
from terracyte.images.statistics import describe, describe_masks
from terracyte.ingest.sources.source import Batch
from terracyte.tasks.task import Task


def write(task: Task, batches: Iterable[Batch], folder: Path, origin: str) -> None:
    """Write the images, the masks (dense tasks), the manifest, and the planted defects if there are any.

    Args:
        task: the task the images belong to.
        batches: the batches of a source; only their rows of the manifest are kept in memory.
        folder: an empty folder that becomes `paths.raw(task.name)`.
        origin: the source's path, for messages.

    Raises:
        InputError: reading the source raises it, a label or a pixel's class is unknown, a scored class is absent,
            or there is no image.
    """
    images, masks = folder / paths.images(task.name).name, folder / paths.masks(task.name).name
    rows = _write_arrays(task, batches, images, masks, origin)
    columns = [rows.drop(columns="defect"), describe(files.map_array(images))]
    if task.dense:
        columns.append(describe_masks(files.map_array(masks), len(task.classes)))
    manifest = pd.concat(columns, axis=1)
    _require_all_classes(task, manifest, origin)
    files.write_table(folder / paths.raw_manifest(task.name).name, manifest)
    if (rows["defect"] != "").any():
        files.write_table(folder / paths.planted(task.name).name, rows[["id", "defect"]])


def write_unlabelled(task: Task, batches: Iterable[NDArray[np.uint8]], folder: Path) -> None:
    """Write the images whose targets are withheld; write no file if there are none.

    Args:
        task: the task the images belong to.
        batches: arrays (b, h, w, c); memory use does not grow with their number.
        folder: the folder given to `write`.
    """
    remaining = iter(batches)
    first = next(remaining, None)
    if first is not None:
        with _growing_array(folder / paths.unlabelled(task.name).name, task.image_shape) as append:
            for batch in itertools.chain([first], remaining):
                append(batch)


@contextmanager
def _growing_array(path: Path, row_shape: tuple[int, ...]) -> Iterator[Callable[[NDArray[np.uint8]], None]]:
    """Write a .npy file of uint8 rows in constant memory; it is complete when the block ends without an error.

    Yields:
        Appends rows (b, *row_shape).
    """
    rows = 0

    def append(added: NDArray[np.uint8]) -> None:
        nonlocal rows
        stream.write(np.ascontiguousarray(added).data)
        rows += len(added)

    def write_header() -> None:
        # NumPy pads the header, so that a longer number of rows fits
        header = {"descr": "|u1", "fortran_order": False, "shape": (rows, *row_shape)}
        np.lib.format.write_array_header_1_0(stream, header)

    with path.open("wb") as stream:
        write_header()
        yield append
        stream.seek(0)
        write_header()


def _write_arrays(
    task: Task, batches: Iterable[Batch], images_path: Path, masks_path: Path, origin: str
) -> pd.DataFrame:
    tables = []
    with ExitStack() as stack:
        add_images = stack.enter_context(_growing_array(images_path, task.image_shape))
        add_masks = stack.enter_context(_growing_array(masks_path, task.image_shape[:2])) if task.dense else None
        for batch in _with_progress(batches, origin):
            targets = _targets(task, batch, origin)
            add_images(batch.images)
            if add_masks is not None:
                add_masks(targets.astype(np.uint8))
            label = {} if task.dense else {"label": targets}
            empty = [""] * len(batch.names)
            # the manifest of a source that gives no splits has no such column
            split = {} if batch.splits is None else {"declared_split": batch.splits}
            groups, defects = batch.groups or empty, batch.defects or empty
            columns = {"name": batch.names, **label, "declared_group": groups, **split, "defect": defects}
            tables.append(pd.DataFrame(columns))
    if not tables:
        raise InputError(f"{origin} holds no image; at least one of each class is needed")
    table = pd.concat(tables, ignore_index=True)
    table.insert(0, "id", np.arange(len(table)))
    return table


def _with_progress(batches: Iterable[Batch], origin: str) -> Iterator[Batch]:
    with tqdm(desc=f"reading {origin}", unit="image", disable=None) as progress:
        for batch in batches:
            yield batch
            progress.total = batch.total
            progress.update(len(batch.images))


def _targets(task: Task, batch: Batch, origin: str) -> NDArray[np.int64]:
    """Return labels or masks as int64 class numbers; refuse values that are no class."""
    values: NDArray[Any] = np.asarray(batch.masks if task.dense else batch.labels)
    with np.errstate(invalid="ignore"):  # NaN is refused below
        known = (values >= 0) & (values < len(task.classes)) & (values == np.floor(values))
    if not known.all():
        place = tuple(int(axis) for axis in np.argwhere(~known)[0])
        kind = "mask" if task.dense else "label"
        where = f" at row {place[1]}, column {place[2]}" if task.dense else ""
        raise InputError(
            f"{origin}: {batch.names[place[0]]}: the {kind} is {values[place].item()}{where}; "
            f"it must be a whole number from 0 ({task.classes[0]}) to {len(task.classes) - 1} ({task.classes[-1]})"
            + ("" if task.dense else f", or be given a class in 'sources.{task.name}.class_of' in experiment.yaml")
        )
    return values.astype(np.int64)


def _require_all_classes(task: Task, manifest: pd.DataFrame, origin: str) -> None:
    counts = task.class_counts(manifest).sum(axis=0)
    absent = [f"'{task.classes[k]}' ({k})" for k in task.scored_classes if counts[k] == 0]
    if absent:
        unit = "pixel" if task.dense else "image"
        larger = ", raise 'height' and 'width' if resizing lost them," if task.dense else ","
        raise InputError(
            f"{origin} holds no {unit} of class {', '.join(absent)}; add some{larger} "
            f"or change 'tasks.{task.name}.classes' in params.yaml"
        )
