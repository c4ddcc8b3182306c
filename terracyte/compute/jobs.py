"""What a job is, wherever it runs, and how often it is tried."""

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

# With it a running job sends a message to the main process and waits for the reply.
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
    """What jobs read of the project's folder, for machines that have no such folder.

    Attributes:
        files: whole ones; of a folder everything in it.
        rows: of .npy files the rows that are read; the others are zeros there.
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
        """Wait for a message or an end: answer the message, or yield the ended job, its attempt, and its result."""


def run_all(pool: Pool[Job, Result], jobs: Iterable[Job]) -> Iterator[tuple[Job, Result | Lost]]:
    """Run the jobs in a pool, again where a process dies; yield each job with its result when it has one."""
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
    """The reply to jobs that send no messages."""
    raise NotImplementedError(f"{job} asks {message!r}, and nobody answers")
