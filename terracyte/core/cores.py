"""The number of processor cores this process may use; a container or a batch system may allow only some of them."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

LIMIT = "TERRACYTE_CORES"
"""An environment variable that lowers the number: `terracyte repro` divides the cores among concurrent rows."""

_CGROUPS, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")  # root of version 1 or 2; this process's groups


def available() -> int:
    """Return how many cores CPU affinity (taskset), Linux control groups and `LIMIT` allow, at least one."""
    # macOS has neither affinity nor control groups
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get(LIMIT, "")
    asked = [int(limit)] if limit.isdecimal() else []
    return max(1, min([allowed, *(int(quota) for quota in _quotas()), *asked]))


def shared(workers: int) -> dict[str, str]:
    """Return the variables that give each of `workers` concurrent processes an equal share of the cores."""
    return {LIMIT: str(max(1, available() // workers))}


def _quotas() -> Iterator[float]:
    """Yield the CPU quota, in cores, of each of this process's groups and of their parents, which also apply."""
    with suppress(OSError):
        for line in _OWN.read_text("utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            root = _CGROUPS / controllers if controllers else _CGROUPS
            folder = root / path.strip("/")
            for each in (folder, *folder.parents):
                yield from _quota(each)
                if each == root:
                    break


def _quota(folder: Path) -> Iterator[float]:
    with suppress(OSError, ValueError):  # no group, or no limit, which is "max" or -1
        quota, period = (float(each) for each in (folder / "cpu.max").read_text("utf-8").split())
        yield quota / period
    with suppress(OSError, ValueError):
        quota, period = (float((folder / f"cpu.cfs_{name}_us").read_text("utf-8")) for name in ("quota", "period"))
        if quota > 0:
            yield quota / period
