"""A tiny project as stage `balance` leaves it: all that training needs, learnable in a few steps."""

from pathlib import Path

import numpy as np
import pandas as pd

from terracyte import params
from terracyte.configure import rows
from terracyte.core import files, paths
from terracyte.fetch import initialisation
from terracyte.params import yaml_files
from terracyte.params.row import RANDOM
from tests.conftest import write_settings

ROWS = 24
CLASSES = 4


def write(root: Path) -> None:
    """Write both tasks' raw forms and balanced manifests into the working directory `root`, and adapt its params.

    Class k is grey level 60 k and some noise: among equal pixels rounding would decide which one max pooling takes,
    and so where its gradient goes. Of 24 images of 32x32 pixels, 16 are for training, 4 for validation, 4 for test;
    every fourth training image has `repeats` 2, and the ids count down from row to row.
    """
    for task in ("blood", "mars"):
        paths.raw(task).mkdir(parents=True)
        manifest = _manifest()
        if task == "blood":
            _write_blood(manifest)
        else:
            _write_mars(manifest)
        weights = [0.0 if task == "mars" else 1.0, 1.0, 1.0, 1.0]
        files.write_json(paths.balance(task), {"class_weights": weights, "splits": {"train": {"images": 16}}})
        files.write_json(paths.tuned(task), {})
    _shrink(root)
    configure()


def _manifest() -> pd.DataFrame:
    splits = ["train"] * 16 + ["validation"] * 4 + ["test"] * 4
    return pd.DataFrame(
        {
            "id": np.arange(ROWS)[::-1],
            "split": splits,
            "fold": [*[0, 1] * 10, *[-1] * 4],
            "sample_weight": [2.0, 1.0, 1.0, 0.0] * 6,
            "repeats": [2, 1, 1, 1] * 6,
        }
    )


def _write_blood(manifest: pd.DataFrame) -> None:
    labels = np.arange(ROWS) % CLASSES
    noise = np.random.default_rng(0).integers(0, 20, (ROWS, 32, 32, 3))
    np.save(paths.images("blood"), (60 * labels[:, None, None, None] + noise).astype(np.uint8))
    files.write_table(paths.balance_manifest("blood"), manifest.assign(label=labels[manifest["id"]]))


def _write_mars(manifest: pd.DataFrame) -> None:
    random = np.random.default_rng(0)
    quarters = random.integers(0, CLASSES, (ROWS, 2, 2))
    masks = quarters.repeat(16, axis=1).repeat(16, axis=2).astype(np.uint8)
    np.save(paths.masks("mars"), masks)
    noise = random.integers(0, 20, (*masks.shape, 1))
    np.save(paths.images("mars"), (60 * masks[..., None] + noise).astype(np.uint8))
    pixels = {f"pixels_{k}": (masks == k).sum(axis=(1, 2)).astype(np.int64)[manifest["id"]] for k in range(CLASSES)}
    files.write_table(paths.balance_manifest("mars"), manifest.assign(**pixels))


def configure() -> None:
    """Write the configuration of every row in the working directory; rows start from random weights."""
    settings = params.load()
    for name in settings.variants:
        for member in range(len(settings.members(name))):
            if not paths.pretrained(name, member).exists():
                initialisation.write(paths.pretrained(name, member), RANDOM)
    for task in settings.task_names:
        paths.configs(task).mkdir(parents=True, exist_ok=True)
        rows.write(settings, task, paths.configs(task))


def _shrink(root: Path) -> None:
    content = yaml_files.read_yaml(root / "params.yaml")
    # TensorFlow traces a shallow network faster
    for task, names, depth in (("blood", ["a", "b", "c", "d"], 1), ("mars", ["background", "a", "b", "c"], 2)):
        content["tasks"][task].update(classes=names, height=32, width=32)
        content["reference"][task].update(width=4, depth=depth, batch_size=4, epochs=4, learning_rate=5e-3)
        content["tune"][task].update(trials=3, share=0.5, confirm=1, change={"epochs": 2, "patience": 2})
    # blood's four mirror images would also take time to trace; those of mars remain
    content["reference"]["blood"].update(test_time_flips=False)
    write_settings(root / "params.yaml", content)
    experiment = yaml_files.read_yaml(root / "experiment.yaml")
    experiment["rows"] = {name: variant["task"] for name, variant in content["variants"].items()}
    experiment["override"] = {}
    write_settings(root / "experiment.yaml", experiment)
