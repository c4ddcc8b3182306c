"""Running and retrying jobs in a pool of processes, wherever they are."""

import abc
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Job = TypeVar("Job")
Result = TypeVar("Result")

ATTEMPTS = 3

# A function with which a running job sends a message to the main process and gets its reply.
Ask = Callable[[Any], Any]


@dataclasses.dataclass(frozen=True)
class Lost:
    """The result of a job whose process died at each attempt.

    Attributes:
        how: how the last process died.
    """

    how: str

    def __str__(self) -> str:
        return f"its process died {ATTEMPTS} times ({self.how})"


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Files of the project's folder that jobs read, to be sent to machines without this folder.

    Attributes:
        files: files that are sent whole; of a folder, all files in it.
        rows: for .npy files, the rows that are read; the other rows are zeros on those machines.
    """

    files: tuple[Path, ...] = ()
    rows: Mapping[Path, NDArray[np.int64]] = dataclasses.field(default_factory=dict)


class Pool(abc.ABC, Generic[Job, Result]):
    """Processes, here or elsewhere, each of which runs one job at a time."""

    @property
    @abc.abstractmethod
    def has_room(self) -> bool:
        """Whether one more job can be started."""

    @property
    @abc.abstractmethod
    def is_busy(self) -> bool:
        """Whether any job is running."""

    @abc.abstractmethod
    def start(self, job: Job, attempt: int) -> None:
        """Start a job."""

    @abc.abstractmethod
    def wait(self) -> Iterator[tuple[Job, int, Result | Lost]]:
        """Wait for a message or ended jobs; answer the message, or yield ended jobs with their attempts and results."""


def run_all(pool: Pool[Job, Result], jobs: Iterable[Job]) -> Iterator[tuple[Job, Result | Lost]]:
    """Run the jobs in a pool, retrying those whose process dies; yield each job with its result when it has one."""
    waiting = ((job, 1) for job in jobs)
    failed: list[tuple[Job, int]] = []
    while True:
        while pool.has_room and (following := failed.pop() if failed else next(waiting, None)):
            pool.start(*following)
        if not pool.is_busy:
            return
        for job, attempt, result in pool.wait():
            if isinstance(result, Lost) and attempt < ATTEMPTS:
                failed.append((job, attempt + 1))
            else:
                yield job, result


def no_reply(job: Any, message: Any) -> Any:
    """The `answer` for jobs that send no messages: raise NotImplementedError."""
    raise NotImplementedError(f"{job} asks {message!r}, and nobody answers")
