"""Every variant of every experiment builds and maps a batch of its task's images to logits."""

import dataclasses
import functools
from typing import Any

import keras
import numpy as np
import pytest

from terracyte import models, params, tasks
from terracyte.models.problem import Problem
from terracyte.params.variant import Config
from terracyte.tasks.task import Task
from tests.conftest import ROOT

EXPERIMENTS = {name: params.load(ROOT / name) for name in (".", "real")}
DECLARED = [(experiment, name) for experiment, settings in EXPERIMENTS.items() for name in settings.variants]

# The keys that the builders read. Variants that agree in them are the same network, which is built once.
MODEL_KEYS = frozenset(
    {
        *(
            "architecture",
            "size",
            "minimalistic",
            "resolution",
            "encoder",
            "enlarge",
            "width",
            "depth",
            "patch",
            "squeeze_excite",
            "residual",
        ),
        *("attention", "joined", "standardize", "raw_brightness", "input_dropout", "dropout", "l1", "l2"),
    }
)


class Recorded:
    """A configuration that notes which of its keys are read."""

    def __init__(self, config: Config) -> None:
        self.config, self.keys = config, set[str]()

    def __getattr__(self, key: str) -> Any:
        self.keys.add(key)
        return getattr(self.config, key)


@functools.cache
def logits(task: Task, config: Config) -> tuple[Any, set[str]]:
    """Logits of two images, and the keys of the configuration that the builder read."""
    shares = tuple(1 / len(task.classes) for _ in task.classes)
    recorded: Any = Recorded(config)
    model = models.build(recorded, Problem(image_shape=task.image_shape, dense=task.dense, class_shares=shares))
    images = np.random.default_rng(0).integers(0, 256, (2, *task.image_shape)).astype(np.float32)
    return keras.ops.convert_to_numpy(model(images, training=False)), recorded.keys


@pytest.mark.parametrize(("experiment", "name"), DECLARED)
def test_a_declared_variant_maps_images_to_logits(experiment: str, name: str) -> None:
    settings = EXPERIMENTS[experiment]
    task = task_of(settings.variants[name].task)
    fields = [field for field in dataclasses.fields(Config) if field.name not in MODEL_KEYS]
    others: dict[str, Any] = {field.name: field.default for field in fields}
    found, read = logits(task, dataclasses.replace(settings.config(name), **others))
    assert read <= MODEL_KEYS
    places = task.image_shape[:2] if task.dense else ()
    assert found.shape == (2, *places, len(task.classes))
    assert np.isfinite(found).all()


@functools.cache
def task_of(name: str) -> Task:
    return tasks.of(name, EXPERIMENTS["."].tasks[name])
