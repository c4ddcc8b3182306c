"""Measure on a task's images what its block of params.yaml leaves open, when a stage asks for it."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terracyte.measure import thresholds
from terracyte.params import Balance, Clean, Validate
from terracyte.params.schema import left_open
from terracyte.tasks.task import Task

Block = TypeVar("Block", Validate, Clean, Balance)
Record = dict[str, Any]
"""A record of a stage; `measured` holds the measured values by parameter (empty if params.yaml gives all of them)."""


def expected(task: Task, declared: Validate, manifest: pd.DataFrame) -> tuple[Validate, Record]:
    """Complete a task's `validate` block: what is expected of the images.

    Args:
        task: the task that the images belong to.
        declared: the block as params.yaml has it.
        manifest: the manifest of the raw images.

    Returns:
        The complete block, and a record of the values that were measured.
    """
    return _filled(
        declared,
        {
            "class_share": lambda: thresholds.class_share(task, manifest),
            "brightness": lambda: thresholds.brightness(manifest),
            "contrast_low": lambda: thresholds.contrast_low(manifest),
        },
    )


def cleaning(declared: Clean, images: NDArray[np.uint8], manifest: pd.DataFrame) -> tuple[Clean, Record]:
    """Complete a task's `clean` block: by which rules images are removed; returns what `expected` does.

    Args:
        declared: the block as params.yaml has it.
        images: (N, h, w, c) uint8, indexed by `id`; may be memory-mapped.
        manifest: the manifest of the raw images.
    """
    rows = thresholds.chosen(manifest)
    bits = declared.near_duplicate_bits
    return _filled(
        declared,
        {
            "near_duplicate_correlation": lambda: thresholds.copies(len(rows), thresholds.alike(images, rows, bits)),
            "distance": lambda: thresholds.distance(images, rows),
        },
    )


def splitting(declared: Balance, images: NDArray[np.uint8], cleaned: pd.DataFrame) -> tuple[Balance, Record]:
    """Complete a task's `balance` block: how kept images are grouped; returns what `expected` does.

    Args:
        declared: the block as params.yaml has it.
        images: (N, h, w, c) uint8, indexed by `id`; may be memory-mapped.
        cleaned: the manifest with the decisions of cleaning.
    """
    rows = thresholds.chosen(cleaned[cleaned["keep"]])
    bits = declared.group_bits
    return _filled(
        declared, {"group_correlation": lambda: thresholds.group(len(rows), thresholds.alike(images, rows, bits))}
    )


def _filled(declared: Block, measures: Mapping[str, Callable[[], Any]]) -> tuple[Block, Record]:
    missing = left_open(declared)
    filled = dataclasses.replace(declared, **{name: measures[name]() for name in missing})
    values = dataclasses.asdict(filled)
    return filled, {"measured": {name: values[name] for name in missing}} if missing else {}
