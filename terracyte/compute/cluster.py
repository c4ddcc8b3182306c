"""Run jobs and parts of a computation as tasks of a Ray cluster. No other module imports ray.

Nodes need the same packages as this machine, but none of its files: code is sent as Ray's runtime environment, inputs
are sent through its object store, and results come back by value.
"""

import asyncio
import contextlib
import itertools
import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import terracyte
from terracyte.compute.inputs import Bundle, pack
from terracyte.compute.jobs import ATTEMPTS, Ask, Inputs, Job, Lost, Pool, Result, run_all
from terracyte.core import cores, quiet
from terracyte.core.errors import InputError
from terracyte.params import Compute

if TYPE_CHECKING:
    from ray import ObjectRef

_ADDRESS = "RAY_ADDRESS"  # Ray's own variable for where its cluster is

# Variables that decide how a node computes: they are sent with the code.
_ENVIRONMENT = ("KERAS_BACKEND", "TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS", "XLA_FLAGS", *quiet.THREADS)
_TIMEOUT = 10  # seconds for nodes to answer, and to remove inputs
_PENDING_PER_CPU = 2  # tasks of `parallel_map`: one runs while the next one's arguments are sent


def run(
    function: Callable[[Job, Ask], Result],
    jobs: Iterable[Job],
    compute: Compute,
    inputs: Inputs,
    answer: Callable[[Job, Any], Any],
) -> Iterator[tuple[Job, Result | Lost]]:
    """See `compute.run`; each job is a task that unpacks the inputs into a folder of its node."""
    with connected(compute), _stored(inputs) as bundle:
        pool = _TaskPool(function, bundle, compute, answer)
        try:
            yield from run_all(pool, jobs)
        finally:
            pool.end()


def parallel_map(
    function: Callable[..., Result], parts: Iterable[Any], common: tuple[Any, ...], compute: Compute
) -> Iterator[Result]:
    """See `compute.parallel_map`; Ray computes a part again when its node is lost."""
    import ray

    task = ray.remote(function).options(num_cpus=1, max_retries=ATTEMPTS - 1)
    stored = [ray.put(each) for each in common]
    most = _PENDING_PER_CPU * int(ray.cluster_resources().get("CPU", 1))
    pending: deque[ObjectRef] = deque()
    for part in parts:
        pending.append(task.remote(part, *stored))
        if len(pending) >= most:
            yield _result(pending.popleft())
    while pending:
        yield _result(pending.popleft())


@contextmanager
def connected(compute: Compute) -> Iterator[None]:
    """Connect to the cluster that `compute` or `RAY_ADDRESS` names, or to one that is started here for the block.

    Raises:
        InputError: Ray is not installed, or the cluster cannot be reached or started.
    """
    ray = _import_ray()
    if ray.is_initialized():
        yield
        return
    address = compute.address or os.environ.get(_ADDRESS)
    try:
        _require_reachable(address)
        asked = 1 if compute.workers == "auto" else compute.workers
        own: dict[str, Any] = {"num_cpus": max(cores.available(), asked * compute.cpus), "include_dashboard": False}
        ray.init(
            address=address or "local",
            logging_level=logging.WARNING,
            runtime_env=_runtime_environment(),
            **({} if address else own),
        )
    except Exception as error:  # Ray also raises plain ones, such as for a node that does not start in time
        message = " ".join(str(error).split())[:200]
        if address is None:
            raise InputError(
                f"cannot start a Ray cluster on this machine ({message}): fix the cause, or set 'compute.engine' in "
                "params.yaml to local"
            ) from error
        where = f"params.yaml: 'compute.address' is {address}" if compute.address else f"{_ADDRESS} is {address}"
        raise InputError(
            f"{where}, but connecting to that Ray cluster failed ({message}): start it, correct the address, or leave "
            "the address out to start a cluster on this machine"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _fitting(compute: Compute) -> int:
    """Return how many trainings the cluster has processors and GPUs for, at least one."""
    import ray

    whole = ray.cluster_resources()
    processors = whole.get("CPU", 0) // compute.cpus
    return max(1, int(min(processors, whole.get("GPU", 0) // compute.gpus) if compute.gpus else processors))


def _import_ray() -> Any:
    # Ray reports usage statistics unless told otherwise.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise InputError(
            "params.yaml: 'compute.engine' is ray, which is not installed: run `pip install -e '.[ray]'`, or choose "
            "local"
        ) from error
    return ray


def _require_reachable(address: str | None) -> None:
    """Fail at once if nobody answers at the address: Ray itself would try for minutes.

    Raises:
        OSError: there is no answer.
    """
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_TIMEOUT).close()


def _runtime_environment() -> dict[str, Any]:
    chosen = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    # A task without a GPU must see none, else TensorFlow would reserve the memory of all of them.
    variables = {**chosen, "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1"}
    return {"py_modules": [str(Path(terracyte.__file__).parent)], "env_vars": variables}


class _TaskPool(Pool[Job, Result]):
    """Jobs as tasks of the cluster; their messages reach this process through an actor, whatever node they are on."""

    def __init__(
        self,
        function: Callable[[Job, Ask], Result],
        bundle: Bundle,
        compute: Compute,
        answer: Callable[[Job, Any], Any],
    ) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        # The actor runs on this process's node, so that it is not lost with another node.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._questions: Any = ray.remote(_QuestionQueue).options(num_cpus=0, scheduling_strategy=here).remote()
        self._next_question: ObjectRef = self._questions.next.remote()
        self._function, self._bundle, self._compute, self._answer = function, bundle, compute, answer
        self._workers = _fitting(compute) if compute.workers == "auto" else compute.workers
        self._running: dict[ObjectRef, tuple[Job, int]] = {}
        self._jobs: dict[str, Job] = {}  # by task id; a task's questions may outlive the task

    @property
    def has_room(self) -> bool:
        return len(self._running) < self._workers

    @property
    def is_busy(self) -> bool:
        return bool(self._running)

    def start(self, job: Job, attempt: int) -> None:
        import ray

        compute = self._compute
        # Attempts are counted in `run_all`: Ray's own retries would start with a fresh count each time.
        task = ray.remote(_run_job).options(num_cpus=compute.cpus, num_gpus=compute.gpus, max_retries=0)
        started: ObjectRef = task.remote(self._function, job, self._bundle, self._questions)
        self._running[started] = job, attempt
        self._jobs[started.task_id().hex()] = job

    def wait(self) -> Iterator[tuple[Job, int, Result | Lost]]:
        import ray

        ready, _ = ray.wait([self._next_question, *self._running])
        if self._next_question in ready:
            number, task_id, message = ray.get(self._next_question)
            self._questions.answer.remote(number, self._answer(self._jobs[task_id], message))
            self._next_question = self._questions.next.remote()
            return
        for task in ready:
            job, attempt = self._running.pop(task)
            yield job, attempt, _result_or_lost(task)

    def end(self) -> None:
        import ray

        ray.kill(self._questions)


class _QuestionQueue:
    """The actor that holds questions until the main process takes them, and jobs until it answers."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._waiting: asyncio.Queue[tuple[int, str, Any]] = asyncio.Queue()
        self._answers: dict[int, asyncio.Future[Any]] = {}

    async def ask(self, task_id: str, message: Any) -> Any:
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._waiting.put((number, task_id, message))
        return await answer

    async def next(self) -> tuple[int, str, Any]:
        return await self._waiting.get()

    async def answer(self, number: int, value: Any) -> None:
        self._answers.pop(number).set_result(value)


def _run_job(function: Callable[[Job, Ask], Result], job: Job, bundle: Bundle, questions: Any) -> Result:
    """Unpack the inputs and run `function` on the job: the body of a task."""
    import ray

    here = ray.get_runtime_context()
    folder = bundle.unpack(here.get_node_id(), ray.get)
    with contextlib.chdir(folder):
        return function(job, lambda message: ray.get(questions.ask.remote(here.get_task_id(), message)))


def _result_or_lost(task: "ObjectRef") -> Any:
    import ray

    try:
        return _result(task)
    except (
        ray.exceptions.WorkerCrashedError,
        ray.exceptions.OutOfMemoryError,
        ray.exceptions.NodeDiedError,
        ray.exceptions.ObjectLostError,
        ray.exceptions.ActorDiedError,
    ) as error:
        first_sentence = " ".join(str(error).split()).split(". ")[0]
        return Lost(first_sentence[:200])


def _result(task: "ObjectRef") -> Any:
    """Return the result of a task.

    Raises:
        Exception: the task's exception, as if it had been raised here.
    """
    import ray

    try:
        return ray.get(task)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None


@contextmanager
def _stored(inputs: Inputs) -> Iterator[Bundle]:
    """Put the inputs into the object store; at the end of the block, remove the copies that nodes unpacked."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    bundle = pack(inputs, ray.put)
    try:
        yield bundle
    finally:
        removed = []
        for node in [node["NodeID"] for node in ray.nodes() if node["Alive"]]:
            there = NodeAffinitySchedulingStrategy(node, soft=False)
            removed.append(ray.remote(_remove).options(num_cpus=0, scheduling_strategy=there).remote(bundle.name, node))
        ray.wait(removed, num_returns=len(removed), timeout=_TIMEOUT)


def _remove(name: str, node: str) -> None:
    Bundle(name, {}).remove(node)
