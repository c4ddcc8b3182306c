"""The tasks by name."""

from collections.abc import Sequence

from terracyte.params import Params
from terracyte.tasks.classification import Blood
from terracyte.tasks.segmentation import Mars
from terracyte.tasks.task import Task

_TASKS: dict[str, type[Task]] = {"blood": Blood, "mars": Mars}


def make(name: str, params: Params) -> Task:
    """The task `name`, with the classes and image shape that params.yaml declares."""
    source = params.data[name]
    return named(name, source.classes, (source.height, source.width, source.channels))


def named(name: str, classes: Sequence[str], image_shape: tuple[int, int, int]) -> Task:
    """The task `name` with these classes, in the order of their labels, and images (h, w, c)."""
    return _TASKS[name](classes, image_shape)
