"""Run work in this process and other processes of this machine, or on a Ray cluster."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from terracyte.compute.jobs import ATTEMPTS, Ask, Inputs, Job, Lost, Result, no_reply
from terracyte.core import cores
from terracyte.params import Compute

__all__ = ["ATTEMPTS", "Ask", "Inputs", "Lost", "parallel_map", "run", "using"]

Part = TypeVar("Part")

_cluster: ContextVar[Compute | None] = ContextVar("cluster of `parallel_map`", default=None)


def run(
    function: Callable[[Job, Ask], Result],
    jobs: Iterable[Job],
    compute: Compute,
    inputs: Inputs,
    answer: Callable[[Job, Any], Any] = no_reply,
) -> Iterator[tuple[Job, Result | Lost]]:
    """Run `function` on each job, `compute.workers` at a time; yield each job with its result as soon as it is there.

    When a process dies (killed, out of memory, its machine lost), its job alone is started again, up to `ATTEMPTS`
    times in all. All processes end with this one, however it ends.

    Args:
        function: a module-level function of a job and an `Ask`; what it gets and returns can be pickled. It runs in a
            folder that holds `inputs`: the project's, or one like it.
        jobs: the jobs, taken one by one when there is room; a result is yielded before the next job is taken.
        compute: where the jobs run, and how many at a time.
        inputs: the files that `function` reads.
        answer: returns the reply to a job's message; it is called in this process.

    Raises:
        Exception: whatever `function` raises; the other jobs are given up.
        InputError: Ray is not installed, or the cluster cannot be reached.
    """
    if compute.engine == "ray":
        from terracyte.compute import cluster

        return cluster.run(function, jobs, compute, inputs, answer)
    from terracyte.compute import local  # here: most stages start no processes

    return local.run(function, jobs, cores.available() if compute.workers == "auto" else compute.workers, answer)


@contextmanager
def using(compute: Compute) -> Iterator[None]:
    """Let `parallel_map` use the cluster, if `compute` names one, until the end of the block.

    Raises:
        InputError: Ray is not installed, or the cluster cannot be reached.
    """
    if compute.engine == "local":
        yield
        return
    from terracyte.compute import cluster

    with cluster.connected(compute):
        token = _cluster.set(compute)
        try:
            yield
        finally:
            _cluster.reset(token)


def parallel_map(function: Callable[..., Result], parts: Iterable[Part], *common: Any) -> Iterator[Result]:
    """Yield `function(part, *common)` of each part in order, computed in this process or on the cluster of `using`.

    Args:
        function: a module-level function, whose result depends on its arguments alone.
        parts: first arguments, taken one by one, so that not all of them need to be in memory.
        common: further arguments, the same for all parts.
    """
    compute = _cluster.get()
    if compute is None:
        return (function(part, *common) for part in parts)
    from terracyte.compute import cluster

    return cluster.parallel_map(function, parts, common, compute)
