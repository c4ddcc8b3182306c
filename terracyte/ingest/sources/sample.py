"""The embedded sample: cells or terrain drawn by a seeded generator, with known defects among them."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terracyte.core.errors import InputError
from terracyte.ingest.sample import cells_recipe, terrain_recipe
from terracyte.ingest.sample.plan import Entry
from terracyte.ingest.sources.source import Batch
from terracyte.params import Source, read_yaml
from terracyte.params.schema import build
from terracyte.tasks.task import Task

_BATCH = 64


def read(task: Task, source: Source) -> Iterator[Batch]:
    """Draw the sample that the recipe at `source.path` describes; the same recipe gives the same bytes.

    Raises:
        InputError: the recipe is missing or invalid, or the declared classes or image size are not those of
            the drawings.
    """
    path = Path(source.path)
    return _batches(task, _sample(task).plan(_recipe(task, path), str(path)), path.stem)


def unlabelled(task: Task, source: Source) -> Iterator[NDArray[np.uint8]]:
    """Draw the pictures without targets that the recipe asks for, one by one (1, h, w, c).

    Raises:
        InputError: see `read`.
    """
    path = Path(source.path)
    for entry in _sample(task).unlabelled(_recipe(task, path), str(path)):
        yield entry.draw().image[None]


def _recipe(task: Task, path: Path) -> Any:
    sample = _sample(task)
    for what, declared, drawn in (
        ("classes", task.classes, sample.CLASSES),
        ("height, width and channels", task.image_shape, sample.IMAGE_SHAPE),
    ):
        if declared != drawn:
            raise InputError(
                f"params.yaml: the {what} in 'tasks.{task.name}' are {list(declared)}, but the sample draws "
                f"{list(drawn)}; declare these or choose another source"
            )
    if not path.is_file():
        where = f"'sources.{task.name}.path' in experiment.yaml"
        raise InputError(f"{path} is missing: {where} must name the sample's recipe")
    return build(sample.Recipe, read_yaml(path), "", file=str(path))


def _sample(task: Task) -> ModuleType:
    return terrain_recipe if task.dense else cells_recipe


def _batches(task: Task, entries: list[Entry], name: str) -> Iterator[Batch]:
    for start in range(0, len(entries), _BATCH):
        batch = entries[start : start + _BATCH]
        pictures = [entry.draw() for entry in batch]
        targets = np.stack([picture.target for picture in pictures])
        yield Batch(
            images=np.stack([picture.image for picture in pictures]),
            labels=None if task.dense else targets.astype(np.int64),
            masks=targets if task.dense else None,
            names=[f"{name}[{start + i}]" for i in range(len(batch))],
            defects=[entry.defect for entry in batch],
            total=len(entries),
        )
