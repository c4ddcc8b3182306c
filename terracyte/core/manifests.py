"""The balanced manifest: the images that stay, with their split, which most stages read."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from terracyte.core import files, paths


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
