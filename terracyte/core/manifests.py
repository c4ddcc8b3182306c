"""The balanced manifest, which most stages read: the images kept by cleaning, with their split."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from terracyte.core import files, paths
from terracyte.core.errors import InputError


def read_balanced(task: str, columns: Sequence[str] | None = None, folder: Path = Path()) -> pd.DataFrame:
    """Return the balanced manifest, one row per image; see `paths.balance_manifest`.

    Args:
        task: the task the images belong to.
        columns: names of the columns to read; None for all.
        folder: the experiment's folder.

    Raises:
        UnusableFileError: nothing was balanced yet, or the file is damaged.
    """
    with files.advising(f"run `dvc repro balance@{task}`{paths.inside(folder)}"):
        return files.read_table(folder / paths.balance_manifest(task), columns)


def held_out_fold(manifest: pd.DataFrame, seed: int) -> int:
    """Return the fold that a training with folds holds out: the training's seed modulo the number of folds.

    Args:
        manifest: the balanced manifest.
        seed: the training's seed.

    Raises:
        InputError: the manifest has no folds.
    """
    folds = int(manifest["fold"].max()) + 1
    if folds < 1:
        raise InputError("params.yaml: 'balance.<task>.folds' must be 2 or more for a row with 'folds'")
    return seed % folds
