"""Processes of this machine, each of which takes one job after another."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, Literal

from terracyte.compute.jobs import ATTEMPTS, Ask, Job, Lost, Result, unasked

# A child of its own kind: a fork of a process with TensorFlow's threads may hang.
_PROCESSES = multiprocessing.get_context("spawn")

Kind = Literal["question", "result", "error"]  # of what a worker sends


def run(
    function: Callable[[Job, Ask], Result],
    jobs: Iterable[Job],
    workers: int,
    answer: Callable[[Job, Any], Any] = unasked,
) -> Iterator[tuple[Job, Result | Lost]]:
    """See `compute.run`; the processes share this one's folder."""
    crew = _Crew(function, workers)
    fresh = ((job, 1) for job in jobs)
    again: list[tuple[Job, int]] = []
    try:
        while True:
            while crew.has_room and (following := again.pop() if again else next(fresh, None)):
                crew.give(*following)
            if not crew.is_busy:
                return
            for job, attempt, outcome in crew.results(answer):
                if isinstance(outcome, Lost) and attempt < ATTEMPTS:
                    again.append((job, attempt + 1))
                else:
                    yield job, outcome
    finally:
        crew.end()


class _Crew(Generic[Job, Result]):
    """Processes, each of which runs `function` on one job at a time; made when there is work for them."""

    def __init__(self, function: Callable[[Job, Ask], Result], workers: int) -> None:
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

    def results(self, answer: Callable[[Job, Any], Any]) -> Iterator[tuple[Job, int, Result | Lost]]:
        """Wait for what jobs ask, and for their ends: each job that has ended, its attempt, and what came of it."""
        for connection in wait(list(self._busy)):
            ended = self._busy[connection].take(answer)
            if ended is None:
                continue
            worker = self._busy.pop(connection)
            if not isinstance(ended[2], Lost):
                self._idle.append(worker)
            yield ended

    def end(self) -> None:
        for worker in [*self._idle, *self._busy.values()]:
            worker.end()


class _Worker(Generic[Job, Result]):
    """A process that runs `function` on one job at a time."""

    def __init__(self, function: Callable[[Job, Ask], Result]) -> None:
        self.connection, theirs = _PROCESSES.Pipe()
        self._process = _PROCESSES.Process(target=_serve, args=(theirs, function), daemon=True)
        self._process.start()
        # else the end of the process would not end the connection
        theirs.close()
        self._task: tuple[Job, int] | None = None

    def give(self, job: Job, attempt: int) -> None:
        self._task = job, attempt
        # a process that was killed while it had nothing to do: `take` meets its end, and the job is given again
        with contextlib.suppress(ConnectionError):
            self.connection.send(job)

    def take(self, answer: Callable[[Job, Any], Any]) -> tuple[Job, int, Result | Lost] | None:
        """The job, its attempt, and what came of it; None where it only asked something."""
        assert self._task is not None
        job, attempt = self._task
        try:
            kind, value = self.connection.recv()
            if kind == "question":
                self.connection.send(answer(job, value))
                return None
        except (EOFError, ConnectionError):
            self._process.join()
            kind, value = "result", Lost(_how_it_ended(self._process.exitcode or 0))
        self._task = None
        if kind == "error":
            raise value
        return job, attempt, value

    def end(self) -> None:
        if self._task is not None:
            self._process.kill()
        # one that waits for a job ends by itself: it leaves nothing behind that would have to be cleared away
        self.connection.close()
        self._process.join()


def _how_it_ended(code: int) -> str:
    """In words; a negative code is the number of the signal that killed the process."""
    return f"signal {-code}, out of memory perhaps" if code < 0 else f"exit code {code}"


def _serve(connection: Connection, function: Callable[[Any, Ask], Any]) -> None:
    """What a worker's process does."""
    # Ctrl-C reaches every process of the terminal: this one dies of it at once and in silence
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def send(kind: Kind, value: Any) -> None:
        connection.send((kind, value))

    def ask(message: Any) -> Any:
        send("question", message)
        return connection.recv()

    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        try:
            send("result", function(job, ask))
        except Exception as error:
            send("error", error)


def _end_with_parent() -> None:
    """A parent that is killed can end nobody: its children watch it."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
