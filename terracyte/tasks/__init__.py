"""The tasks by name."""

from terracyte.params import Params
from terracyte.tasks.blood import Blood
from terracyte.tasks.mars import Mars
from terracyte.tasks.task import Task

_TASKS: dict[str, type[Task]] = {"blood": Blood, "mars": Mars}


def make(name: str, params: Params) -> Task:
    """The task `name`, with the classes and image shape that params.yaml declares."""
    source = params.data[name]
    return _TASKS[name](source.classes, (source.height, source.width, source.channels))
