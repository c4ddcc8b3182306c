"""Run jobs in processes of this machine, each of which takes one job after another."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any, Generic

from terracyte.compute.jobs import Ask, Job, Lost, Pool, Result, run_all

# Not "fork": a fork of a process with TensorFlow's threads may hang.
_PROCESSES = multiprocessing.get_context("spawn")


def run(
    function: Callable[[Job, Ask], Result],
    jobs: Iterable[Job],
    workers: int,
    answer: Callable[[Job, Any], Any],
) -> Iterator[tuple[Job, Result | Lost]]:
    """See `compute.run`; the processes share this one's folder."""
    pool = _WorkerPool(function, workers, answer)
    try:
        yield from run_all(pool, jobs)
    finally:
        pool.end()


class _WorkerPool(Pool[Job, Result]):
    """Processes, each of which runs `function` on one job at a time; each is started when there is work for it."""

    def __init__(self, function: Callable[[Job, Ask], Result], workers: int, answer: Callable[[Job, Any], Any]) -> None:
        self._function, self._workers, self._answer = function, workers, answer
        self._idle: list[_Worker[Job, Result]] = []
        self._busy: dict[Any, _Worker[Job, Result]] = {}

    @property
    def has_room(self) -> bool:
        return len(self._busy) < self._workers

    @property
    def is_busy(self) -> bool:
        return bool(self._busy)

    def start(self, job: Job, attempt: int) -> None:
        worker = self._idle.pop() if self._idle else _Worker(self._function)
        self._busy[worker.connection] = worker
        worker.start(job, attempt)

    def wait(self) -> Iterator[tuple[Job, int, Result | Lost]]:
        for connection in wait(list(self._busy)):
            ended = self._busy[connection].receive(self._answer)
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
        self._process = _PROCESSES.Process(target=_run_jobs, args=(theirs, function), daemon=True)
        self._process.start()
        # The connection breaks when the process dies only if nobody else holds the process's end.
        theirs.close()
        self._task: tuple[Job, int] | None = None

    def start(self, job: Job, attempt: int) -> None:
        self._task = job, attempt
        # An idle process may have been killed: `receive` then finds a broken connection, and the job is tried again.
        with contextlib.suppress(ConnectionError):
            self.connection.send(job)

    def receive(self, answer: Callable[[Job, Any], Any]) -> tuple[Job, int, Result | Lost] | None:
        """Return the job, its attempt and its result; or answer the job's question and return None."""
        assert self._task is not None
        job, attempt = self._task
        try:
            kind, value = self.connection.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            code = self._process.exitcode or 0  # negative: the number of the signal that killed the process
            how = f"signal {-code}, out of memory perhaps" if code < 0 else f"exit code {code}"
            kind, value = "result", Lost(how)
        if kind == "question":
            reply = answer(job, value)  # its own errors are not the process's
            with contextlib.suppress(ConnectionError):  # if the process has died, the next `receive` finds out
                self.connection.send(reply)
            return None
        self._task = None
        if kind == "error":
            raise value
        return job, attempt, value

    def end(self) -> None:
        if self._task is not None:
            self._process.kill()
        # An idle process ends by itself when its connection closes, and cleans up after itself.
        self.connection.close()
        self._process.join()


def _run_jobs(connection: Connection, function: Callable[[Any, Ask], Any]) -> None:
    """Run jobs until the connection closes: the body of a worker's process."""
    # Ctrl-C reaches every process of the terminal: this one shall end without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_exit_with_parent, daemon=True).start()

    def ask(message: Any) -> Any:
        connection.send(("question", message))
        return connection.recv()

    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        try:
            connection.send(("result", function(job, ask)))
        except Exception as error:
            connection.send(("error", error))


def _exit_with_parent() -> None:
    """Exit when the parent process ends: a killed parent cannot end its children."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
