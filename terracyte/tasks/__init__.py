"""The kinds of task, and the experiment's tasks by name."""

from terracyte.params import Params, TaskSpec
from terracyte.tasks.classification import Classification
from terracyte.tasks.segmentation import Segmentation
from terracyte.tasks.task import Task

__all__ = ["Classification", "Segmentation", "Task", "make", "of"]

_KINDS: dict[str, type[Task]] = {"classification": Classification, "segmentation": Segmentation}


def make(name: str, params: Params) -> Task:
    """The task `name`, as params.yaml describes it.

    Raises:
        InputError: the experiment has no such task.
    """
    params.rows_of(name)
    return of(name, params.tasks[name])


def of(name: str, spec: TaskSpec) -> Task:
    """The task of that name and description."""
    return _KINDS[spec.kind](name, spec)
