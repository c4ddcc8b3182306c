"""Where independent jobs run: in processes of this machine, each of which takes one job after another."""

import dataclasses
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

ATTEMPTS = 3

# A child of its own kind: a fork of a process with TensorFlow's threads may hang.
_PROCESSES = multiprocessing.get_context("spawn")


@dataclasses.dataclass(frozen=True)
class Lost:
    """What became of a job whose process died at each attempt.

    Attributes:
        exit_code: of the last process; negative: the number of the signal that killed it.
    """

    exit_code: int | None

    def __str__(self) -> str:
        code = self.exit_code or 0
        how = f"signal {-code}, out of memory perhaps" if code < 0 else f"exit code {code}"
        return f"its process died {ATTEMPTS} times ({how})"


def run(function: Callable[[Job], Result], jobs: Iterable[Job], workers: int) -> Iterator[tuple[Job, Result | Lost]]:
    """Run `function` on each job, `workers` at a time; yield each job with its result as soon as it is there.

    A process that dies (killed, out of memory) takes nothing with it but its job, which another one begins again,
    `ATTEMPTS` times in all. All processes end with this one, however it ends.

    Args:
        function: a module's own function; what it gets and returns can be pickled.
        jobs: taken one by one, when a process is free.
        workers: processes at a time.

    Raises:
        Exception: whatever `function` raises; the other jobs are given up.
    """
    crew = _Crew(function, workers)
    fresh = ((job, 1) for job in jobs)
    again: list[tuple[Job, int]] = []
    try:
        while True:
            while crew.has_room and (following := again.pop() if again else next(fresh, None)):
                crew.give(*following)
            if not crew.is_busy:
                return
            for job, attempt, outcome in crew.results():
                if isinstance(outcome, Lost) and attempt < ATTEMPTS:
                    again.append((job, attempt + 1))
                else:
                    yield job, outcome
    finally:
        crew.end()


class _Crew(Generic[Job, Result]):
    """Processes, each of which runs `function` on one job at a time; made when there is work for them."""

    def __init__(self, function: Callable[[Job], Result], workers: int) -> None:
        self._function, self._workers = function, workers
        self._idle: list[_Worker[Job, Result]] = []
        self._busy: dict[Any, _Worker[Job, Result]] = {}

    @property
    def has_room(self) -> bool:
        return len(self._busy) < self._workers

    @property
    def is_busy(self) -> bool:
        return bool(self._busy)

    def give(self, job: Job, attempt: int) -> None:
        worker = self._idle.pop() if self._idle else _Worker(self._function)
        self._busy[worker.connection] = worker
        worker.give(job, attempt)

    def results(self) -> Iterator[tuple[Job, int, Result | Lost]]:
        """Wait for a job's end: each job that has ended, its attempt, and what came of it."""
        for connection in wait(list(self._busy)):
            worker = self._busy.pop(connection)
            self._idle.append(worker)
            job, attempt, outcome = worker.take()
            if isinstance(outcome, Lost):
                self._idle.remove(worker)
            yield job, attempt, outcome

    def end(self) -> None:
        for worker in [*self._idle, *self._busy.values()]:
            worker.end()


class _Worker(Generic[Job, Result]):
    """A process that runs `function` on one job at a time."""

    def __init__(self, function: Callable[[Job], Result]) -> None:
        self.connection, theirs = _PROCESSES.Pipe()
        self._process = _PROCESSES.Process(target=_serve, args=(theirs, function), daemon=True)
        self._process.start()
        # else the end of the process would not end the connection
        theirs.close()
        self._task: tuple[Job, int] | None = None

    def give(self, job: Job, attempt: int) -> None:
        self._task = job, attempt
        self.connection.send(job)

    def take(self) -> tuple[Job, int, Result | Lost]:
        """The job, its attempt, and what came of it."""
        assert self._task is not None
        (job, attempt), self._task = self._task, None
        try:
            outcome, error = self.connection.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            return job, attempt, Lost(self._process.exitcode)
        if error is not None:
            raise error
        return job, attempt, outcome

    def end(self) -> None:
        if self._task is not None:
            self._process.kill()
        # one that waits for a job ends by itself: it leaves nothing behind that would have to be cleared away
        self.connection.close()
        self._process.join()


def _serve(connection: Connection, function: Callable[[Any], Any]) -> None:
    """What a worker's process does."""
    # Ctrl-C reaches every process of the terminal: this one dies of it at once and in silence
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        try:
            connection.send((function(job), None))
        except Exception as error:
            connection.send((None, error))


def _end_with_parent() -> None:
    """A parent that is killed can end nobody: its children watch it."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
