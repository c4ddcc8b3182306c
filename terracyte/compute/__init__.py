"""Where work runs: in this process and processes of this machine, or on a Ray cluster."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from terracyte.compute import local
from terracyte.compute.jobs import ATTEMPTS, Ask, Inputs, Job, Lost, Result, unasked
from terracyte.params import Compute

__all__ = ["ATTEMPTS", "Ask", "Inputs", "Lost", "run", "shared", "spread", "using"]

Part = TypeVar("Part")

_used: ContextVar[Compute | None] = ContextVar("engine of `spread`", default=None)


def run(
    function: Callable[[Job, Ask], Result],
    jobs: Iterable[Job],
    compute: Compute,
    inputs: Inputs,
    answer: Callable[[Job, Any], Any] = unasked,
) -> Iterator[tuple[Job, Result | Lost]]:
    """Run `function` on each job, `compute.workers` at a time; yield each job with its result as soon as it is there.

    A process that dies (killed, out of memory, its machine lost) takes nothing with it but its job, which another one
    begins again, `ATTEMPTS` times in all. All processes end with this one, however it ends.

    Args:
        function: a module's own function of a job and of `Ask`; what it gets and returns can be pickled. It runs in
            a folder that holds `inputs`, the project's or one like it.
        jobs: taken one by one, when there is room; what comes of a job is yielded before the next one is taken.
        compute: where, and how many at a time.
        inputs: what `function` reads.
        answer: what this process says to what a job asks.

    Raises:
        Exception: whatever `function` raises; the other jobs are given up.
        InputError: there is no such cluster.
    """
    if compute.engine == "ray":
        from terracyte.compute import cluster

        return cluster.run(function, jobs, compute, inputs, answer)
    return local.run(function, jobs, compute.workers, answer)


@contextmanager
def shared(compute: Compute) -> Iterator[None]:
    """Let the processes that this one starts use one cluster, where they use one, until the end of the block.

    Raises:
        InputError: there is no such cluster.
    """
    if compute.engine == "local":
        yield
        return
    from terracyte.compute import cluster

    with cluster.shared(compute):
        yield


@contextmanager
def using(compute: Compute) -> Iterator[None]:
    """Let `spread` use the cluster, if it is to be used, until the end of the block.

    Raises:
        InputError: there is no such cluster.
    """
    if compute.engine == "local":
        yield
        return
    from terracyte.compute import cluster

    with cluster.connected(compute):
        token = _used.set(compute)
        try:
            yield
        finally:
            _used.reset(token)


def spread(function: Callable[..., Result], parts: Iterable[Part], *shared: Any) -> Iterator[Result]:
    """`function(part, *shared)` of each part, in their order: in this process, or as tasks of the cluster of `using`.

    Args:
        function: a module's own function; its result depends on its arguments alone.
        parts: taken one by one, so that not all of them need to be in memory.
        shared: arguments that all parts have in common.
    """
    used = _used.get()
    if used is None:
        return (function(part, *shared) for part in parts)
    from terracyte.compute import cluster

    return cluster.spread(function, parts, shared, used)
