"""A Ray cluster: jobs and parts of a computation as its tasks. The only importer of ray.

Nodes are supposed to have the same packages as this machine, but none of its files: code goes along as Ray's runtime
environment, inputs through its object store, results come back by value.
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
from terracyte.compute.inputs import Parcel, pack
from terracyte.compute.jobs import ATTEMPTS, Ask, Inputs, Job, Lost, Result
from terracyte.core.errors import InputError
from terracyte.params import Compute

if TYPE_CHECKING:
    from ray import ObjectRef

ADDRESS = "RAY_ADDRESS"  # Ray's own variable for where its cluster is

# What decides how nodes compute goes along.
_ENVIRONMENT = ("KERAS_BACKEND", "TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS", "XLA_FLAGS")
_PATIENCE = 10  # seconds for nodes to answer, and to clear away
_WAITING = 2  # parts of `spread` per processor that are under way: one works, one is on its way


def run(
    function: Callable[[Job, Ask], Result],
    jobs: Iterable[Job],
    compute: Compute,
    inputs: Inputs,
    answer: Callable[[Job, Any], Any],
) -> Iterator[tuple[Job, Result | Lost]]:
    """See `compute.run`; each job is a task that unpacks the inputs into a folder of its node."""
    with connected(compute), _Desk() as desk, _sent(inputs) as parcel:
        tasks: dict[ObjectRef, tuple[Job, int]] = {}
        fresh = ((job, 1) for job in jobs)
        again: list[tuple[Job, int]] = []
        while True:
            while len(tasks) < compute.workers and (following := again.pop() if again else next(fresh, None)):
                job, attempt = following
                tasks[_start(function, job, parcel, desk, compute)] = following
            if not tasks:
                return
            for task in desk.wait(tasks, answer):
                job, attempt = tasks.pop(task)
                outcome = _outcome(task)
                if isinstance(outcome, Lost) and attempt < ATTEMPTS:
                    again.append((job, attempt + 1))
                else:
                    yield job, outcome


def spread(
    function: Callable[..., Result], parts: Iterable[Any], shared: tuple[Any, ...], compute: Compute
) -> Iterator[Result]:
    """See `compute.spread`; a part whose node is lost is computed again, by Ray."""
    import ray

    task = ray.remote(function).options(num_cpus=1, max_retries=ATTEMPTS - 1)
    common = [ray.put(each) for each in shared]
    most = _WAITING * int(ray.cluster_resources().get("CPU", 1))
    under_way: deque[ObjectRef] = deque()
    for part in parts:
        under_way.append(task.remote(part, *common))
        if len(under_way) >= most:
            yield _result(under_way.popleft())
    while under_way:
        yield _result(under_way.popleft())


@contextmanager
def connected(compute: Compute) -> Iterator[None]:
    """Be a driver of the cluster that `compute` or `RAY_ADDRESS` names, or of one that ends with the block.

    Raises:
        InputError: Ray is not installed, or there is no such cluster.
    """
    ray = _ray()
    if ray.is_initialized():
        yield
        return
    address = compute.address or os.environ.get(ADDRESS)
    try:
        _knock(address)
        cores = max(os.cpu_count() or 1, compute.workers * compute.cpus)
        own: dict[str, Any] = {"num_cpus": cores, "include_dashboard": False}
        ray.init(
            address=address or "local",
            logging_level=logging.WARNING,
            runtime_env=_environment(),
            **({} if address else own),
        )
    except Exception as error:  # Ray raises plain ones, too: a node that does not come up in time is one
        message = " ".join(str(error).split())[:200]
        raise InputError(
            f"params.yaml: there is no Ray cluster at 'compute.address' {address} ({message}): start it, correct the"
            " address, or set it to null for one on this machine"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def shared(compute: Compute) -> Iterator[None]:
    """Let the processes that this one starts use one cluster."""
    with connected(compute):
        before = os.environ.get(ADDRESS)
        os.environ.setdefault(ADDRESS, compute.address or _ray().get_runtime_context().gcs_address)
        try:
            yield
        finally:
            if before is None:
                del os.environ[ADDRESS]


def _knock(address: str | None) -> None:
    """Fail at once where nobody answers: Ray itself would try for minutes.

    Raises:
        OSError: nobody does.
    """
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()


def _ray() -> Any:
    # Ray reports how it is used unless told otherwise
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise InputError(
            "params.yaml: 'compute.engine' is ray, which is not installed: pip install -e '.[ray]', or choose local"
        ) from error
    return ray


def _environment() -> dict[str, Any]:
    chosen = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    # a task that is given no GPU shall see none, else TensorFlow would take the memory of all
    variables = {**chosen, "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1"}
    return {"py_modules": [str(Path(terracyte.__file__).parent)], "env_vars": variables}


def _start(
    function: Callable[[Job, Ask], Result], job: Job, parcel: Parcel, desk: "_Desk", compute: Compute
) -> "ObjectRef":
    import ray

    # attempts are counted here: Ray's own would begin anew with each
    task = ray.remote(_work).options(num_cpus=compute.cpus, num_gpus=compute.gpus, max_retries=0)
    started: ObjectRef = task.remote(function, job, parcel, desk.actor)
    desk.opened(started, job)
    return started


def _work(function: Callable[[Job, Ask], Result], job: Job, parcel: Parcel, desk: Any) -> Result:
    """What a task does."""
    import ray

    here = ray.get_runtime_context()
    folder = parcel.unpack(here.get_node_id(), ray.get)
    with contextlib.chdir(folder):
        return function(job, lambda message: ray.get(desk.ask.remote(here.get_task_id(), message)))


def _outcome(task: "ObjectRef") -> Any:
    import ray

    try:
        return _result(task)
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
        return Lost(_first_sentence(error))
    except (ray.exceptions.NodeDiedError, ray.exceptions.ObjectLostError, ray.exceptions.ActorDiedError) as error:
        return Lost(_first_sentence(error))


def _first_sentence(error: Exception) -> str:
    return " ".join(str(error).split()).split(". ")[0][:200]


def _result(task: "ObjectRef") -> Any:
    """What a task returns.

    Raises:
        Exception: what it raised, as if it had happened here.
    """
    import ray

    try:
        return ray.get(task)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None


class _Questions:
    """The actor in whose hands questions wait for this process, and jobs for its answers."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._waiting: asyncio.Queue[tuple[int, str, Any]] = asyncio.Queue()
        self._answers: dict[int, asyncio.Future[Any]] = {}

    async def ask(self, task: str, message: Any) -> Any:
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._waiting.put((number, task, message))
        return await answer

    async def following(self) -> tuple[int, str, Any]:
        return await self._waiting.get()

    async def answer(self, number: int, value: Any) -> None:
        self._answers.pop(number).set_result(value)


class _Desk:
    """Where jobs that are under way ask this process, whatever node they are on."""

    def __init__(self) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        # beside this process: it shall not be lost with another node
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self.actor: Any = ray.remote(_Questions).options(num_cpus=0, scheduling_strategy=here).remote()
        self._following: ObjectRef = self.actor.following.remote()
        self._jobs: dict[str, Any] = {}

    def __enter__(self) -> "_Desk":
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        ray.kill(self.actor)

    def opened(self, task: "ObjectRef", job: Any) -> None:
        """Know whose task it is."""
        self._jobs[task.task_id().hex()] = job

    def wait(self, tasks: "Iterable[ObjectRef]", answer: Callable[[Any, Any], Any]) -> "list[ObjectRef]":
        """Answer questions until tasks have ended: these."""
        import ray

        while True:
            ready, _ = ray.wait([self._following, *tasks])
            if self._following not in ready:
                return list(ready)
            number, task, message = ray.get(self._following)
            self.actor.answer.remote(number, answer(self._jobs[task], message))
            self._following = self.actor.following.remote()


@contextmanager
def _sent(inputs: Inputs) -> Iterator[Parcel]:
    """Inputs on their way to the nodes; their copies there go with the end of the block."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    parcel = pack(inputs, ray.put)
    try:
        yield parcel
    finally:
        removed = []
        for node in [node["NodeID"] for node in ray.nodes() if node["Alive"]]:
            there = NodeAffinitySchedulingStrategy(node, soft=False)
            removed.append(ray.remote(_remove).options(num_cpus=0, scheduling_strategy=there).remote(parcel.name, node))
        ray.wait(removed, num_returns=len(removed), timeout=_PATIENCE)


def _remove(name: str, node: str) -> None:
    Parcel(name, {}).remove(node)
