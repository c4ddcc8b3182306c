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
    return _reader(source.source)(task, source)


def _reader(name: str) -> Reader:
    # Only the source in use is imported: each brings libraries that the others do not need.
    match name:
        case "sample":
            from terracyte.data.sources import sample

            return sample.read
        case "challenge":
            from terracyte.data.sources import challenge

            return challenge.read
        case "folder":
            from terracyte.data.sources import folder

            return folder.read
        case "medmnist":
            from terracyte.data.sources import medmnist

            return medmnist.read
    raise InputError(f"params.yaml: the source '{name}' has no reader")
