"""Champions of the tasks of `tests.balanced_project`, with untrained networks: made in seconds, not minutes."""

import keras

from terracyte import models, params, tasks
from terracyte.core import files, paths
from terracyte.models import inference
from terracyte.models.problem import Problem
from terracyte.models.serialization import write_model
from terracyte.params import lock
from terracyte.promote import calibration, novelty
from terracyte.promote.champion import CALIBRATION, CARD, MODEL, NOVELTY, RECORD

SHARE = 0.25  # share of the four validation images that count as unfamiliar


def write(name: str) -> None:
    """Fill `paths.champion(name)` in the working directory, which `balanced_project.write` prepared."""
    settings = params.load()
    task = tasks.make(name, settings)
    folder = paths.champion(name)
    folder.mkdir(parents=True)
    write_model(folder / MODEL, _network(name))
    height, width, channels = task.image_shape
    form = {"height": height, "width": width, "channels": channels}
    record = {
        "task": name,
        "variant": f"{name}-tiny",
        "title": "a tiny one",
        "kind": task.spec.kind,
        "classes": list(task.classes),
        "background": task.background,
        **form,
    }
    files.write_json(folder / RECORD, record)
    calibration.write(task, folder / MODEL, folder / CALIBRATION)
    novelty.write(task, folder / NOVELTY, SHARE)
    files.write_text(folder / CARD, "# A card\n")


def record(*names: str) -> None:
    """Write a dvc.lock that lists the champions of these tasks."""
    outputs = {name: {"path": paths.champion(name).as_posix(), "md5": lock.md5(paths.champion(name))} for name in names}
    files.write_json(lock.LOCK, {"stages": {f"promote@{name}": {"outs": [each]} for name, each in outputs.items()}})


def _network(name: str) -> keras.Model:
    settings = params.load()
    task = tasks.make(name, settings)
    inference.make_repeatable(0)
    variant = next(variant for variant in settings.rows_of(name) if "baseline" not in variant)
    shares = tuple(1 / len(task.classes) for _ in task.classes)
    problem = Problem(image_shape=task.image_shape, dense=task.dense, class_shares=shares)
    return models.build(settings.config(variant), problem)
