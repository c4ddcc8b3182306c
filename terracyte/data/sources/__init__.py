"""The sources by name."""

from collections.abc import Iterator

from terracyte.data.sources.source import Batch, Reader
from terracyte.errors import InputError
from terracyte.params import Source
from terracyte.tasks.task import Task


def read(task: Task, source: Source) -> Iterator[Batch]:
    """Read the source that params.yaml declares, batch by batch.

    Raises:
        InputError: the source cannot be used; the message names the file, the place in it, the value
            and what to do.
    """
    if source.group_column is not None and source.source != "folder":
        raise InputError(
            f"params.yaml: 'data.{task.name}.group_column' is {source.group_column!r}, but the source "
            f"'{source.source}' declares no groups; set it to null"
        )
    return _readers()[source.source](task, source)


def _readers() -> dict[str, Reader]:
    # Imported here: one source needs Pillow, another SciPy, and a run uses one of them.
    from terracyte.data.sources import challenge, folder, medmnist, sample

    return {"sample": sample.read, "challenge": challenge.read, "folder": folder.read, "medmnist": medmnist.read}
