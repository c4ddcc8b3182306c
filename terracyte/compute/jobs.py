"""What a job is, wherever it runs."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Job = TypeVar("Job")
Result = TypeVar("Result")

ATTEMPTS = 3

# By it a job that is under way tells this process something and waits for what it has to say to that.
Ask = Callable[[Any], Any]


@dataclasses.dataclass(frozen=True)
class Lost:
    """What became of a job whose process died at each attempt.

    Attributes:
        how: the last process died.
    """

    how: str

    def __str__(self) -> str:
        return f"its process died {ATTEMPTS} times ({self.how})"


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What jobs read of the project's folder, for places that have no such folder.

    Attributes:
        files: whole ones; of a folder everything in it.
        rows: of .npy files the rows that are read; the others are zeros there.
    """

    files: tuple[Path, ...] = ()
    rows: Mapping[Path, NDArray[np.int64]] = dataclasses.field(default_factory=dict)


def unasked(job: Any, message: Any) -> Any:
    """The answer to jobs that ask nothing."""
    raise NotImplementedError(f"{job} asks {message!r}, and nobody answers")
