"""The balanced manifest: the images that stay, with their split, which most stages read."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from terracyte.core import files, paths
from terracyte.core.errors import InputError


def read_balanced(task: str, columns: Sequence[str] | None = None, folder: Path = Path()) -> pd.DataFrame:
    """One row per image; see `paths.balance_manifest`.

    Args:
        task: whose.
        columns: those that are wanted; None for all.
        folder: of the experiment.

    Raises:
        UnusableFileError: nothing was balanced yet, or the file is damaged.
    """
    with files.advising(f"run `dvc repro balance@{task}`"):
        return files.read_table(folder / paths.balance_manifest(task), columns)


def held_out_fold(manifest: pd.DataFrame, seed: int) -> int:
    """The fold that a training with folds holds out: its seed, modulo their number.

    Args:
        manifest: the balanced one.
        seed: of the training.

    Raises:
        InputError: there are no folds.
    """
    folds = int(manifest["fold"].max()) + 1
    if folds < 1:
        raise InputError("params.yaml: a row with 'folds' needs 'balance.<task>.folds' of 2 or more")
    return seed % folds
