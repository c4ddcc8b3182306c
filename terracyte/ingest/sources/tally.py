"""What snapping and resizing change in a source's masks, counted, and told once all masks are read."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from terracyte.core.errors import tell
from terracyte.tasks.task import Task


class Tally:
    """Counts over the masks of a source.

    Args:
        task: the task whose classes the masks show.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._moved, self._pixels = 0, 0
        self._shown, self._lost = (np.zeros(len(task.classes), np.int64) for _ in range(2))

    def add(self, before: NDArray[np.bool_], mask: NDArray[Any], moved: int) -> None:
        """Count one mask.

        Args:
            before: (classes,), which classes the mask shows as stored; see `classes_in`.
            mask: (h, w), the mask's classes at the task's size.
            moved: the number of pixels of that size that were snapped to a declared value.
        """
        self._moved, self._pixels = self._moved + moved, self._pixels + mask.size
        self._shown += before
        self._lost += before & ~classes_in(self._task, mask)

    def tell(self, origin: str) -> None:
        """Write a note on stderr about each change that happened; `origin` names the source."""
        if self._moved:
            share = f"{self._moved / self._pixels:.2%} of the masks' pixels"
            tell(f"note: {origin}: {self._moved} values ({share}) were replaced by the nearest declared value")
        lost = [label for label in self._task.scored_classes if self._lost[label]]
        if lost:
            height, width, _ = self._task.image_shape
            counts = ", ".join(f"{self._task.classes[k]} in {self._lost[k]} of {self._shown[k]}" for k in lost)
            tell(
                f"note: {origin}: resized to {width}x{height} pixels, some masks no longer show a class: {counts}; if "
                f"these objects matter, raise 'tasks.{self._task.name}.height' and 'width' in params.yaml"
            )


def classes_in(task: Task, mask: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which classes (classes,) occur in a mask (h, w) of class numbers."""
    return np.bincount(mask.reshape(-1), minlength=len(task.classes)) > 0
