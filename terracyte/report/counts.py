"""Confusion matrices of rows in docs/results: what a paired comparison needs once their predictions are gone."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from terracyte.core import files, paths
from terracyte.metrics.confusion import Counts

_FOLDER = paths.RESULTS / "counts"


def write(row: Mapping[str, Any], confusions: Counts) -> None:
    """Keep a row's confusion matrices, some kilobytes, in docs/results/counts.

    Args:
        row: of docs/results.
        confusions: (seeds, groups, k, k) of its test predictions, groups of images in ascending order.
    """
    path = _path(row)
    path.parent.mkdir(parents=True, exist_ok=True)
    # the smallest integers that hold them: no loss
    small = confusions.astype(np.min_scalar_type(int(confusions.max())))
    files.write_arrays(path, {"confusions": small, "run": np.array(_run(row))})


def read(row: Mapping[str, Any]) -> Counts | None:
    """(seeds, groups, k, k) of the row's test predictions; None where those of its run were not kept."""
    path = _path(row)
    if not path.exists():
        return None
    arrays = files.read_arrays(path)
    return arrays["confusions"].astype(np.int64) if str(arrays["run"]) == _run(row) else None


def prune(task: str, variants: Collection[str]) -> None:
    """Forget the rows of a task that are none of `variants`."""
    for path in _FOLDER.glob(f"{task}-*.npz"):
        if path.stem not in variants:
            path.unlink()


def _path(row: Mapping[str, Any]) -> Path:
    return _FOLDER / f"{row['variant']}.npz"


def _run(row: Mapping[str, Any]) -> str:
    """What was scored: other data have other groups, another training has other predictions."""
    return f"{row['data_hash']} {row['fingerprint']}"
