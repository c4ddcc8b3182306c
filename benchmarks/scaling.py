"""Measure how the near-duplicate search scales on this machine: docs/scaling.md.

python -m benchmarks.scaling    # 10^4, 10^5 and 10^6 generated hashes, local against Ray

Each measurement is a process of its own; its memory is the sum over the process and all its children (shared memory
counts several times).
"""

import argparse
import json
import os
import subprocess
import sys
import time
from typing import Any, Literal

import numpy as np
import psutil
from numpy.typing import NDArray

from terracyte import compute
from terracyte.core.errors import InputError, guarded
from terracyte.images.similarity.hamming import hash_pairs
from terracyte.images.similarity.pairs import components
from terracyte.params import Compute

Engine = Literal["local", "ray"]

_SIZES = (10_000, 100_000, 1_000_000)
_ENGINES: tuple[Engine, ...] = ("local", "ray")
_BITS = 11  # `clean.<task>.near_duplicate_bits`
_COPIES = 10  # a tenth of the hashes are near duplicates of others
_FLIPPED = 5  # bits, at most

Row = dict[str, Any]


def planted(n: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return n random hashes, the last tenth copies with up to five bits flipped, and the row (n,) of each original."""
    random = np.random.default_rng(n)
    originals = n - n // _COPIES
    hashes = random.integers(0, 2**64, n, np.uint64)
    initialisation = np.arange(n)
    # all copies are of the first fifth of the originals: some groups have several copies
    initialisation[originals:] = random.integers(0, originals // 5, n - originals)
    flips = (np.uint64(1) << random.integers(0, 64, (_FLIPPED, n - originals), np.uint64)).astype(np.uint64)
    hashes[originals:] = hashes[initialisation[originals:]] ^ np.bitwise_xor.reduce(flips, axis=0)
    return hashes, initialisation


def search(n: int, engine: Engine) -> Row:
    """Group n generated hashes as `clean` does; return the time, number of pairs, and whether all copies are found."""
    hashes, initialisation = planted(n)
    with compute.using(Compute(engine=engine, workers=os.cpu_count() or 1)):
        start = time.monotonic()
        pairs = hash_pairs(hashes, _BITS)
        groups = components(n, pairs)
        seconds = time.monotonic() - start
    return {"seconds": round(seconds, 2), "pairs": len(pairs), "found": bool((groups == groups[initialisation]).all())}


def measure(n: int, engine: Engine) -> Row:
    """Search in a process of its own; return its result, its processor time and its largest memory."""
    command = [sys.executable, "-m", "benchmarks.scaling", "--one", str(n), engine]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    memory, busy = 0, dict[int, float]()
    root = psutil.Process(process.pid)
    while process.poll() is None:
        memory = max(memory, _look(root, busy))
        time.sleep(0.2)
    assert process.stdout is not None
    lines = process.stdout.read().splitlines()
    if process.returncode:
        raise InputError(f"the search among {n} with {engine} failed with exit code {process.returncode}")
    row: Row = json.loads(lines[-1])
    return {**row, "processor_seconds": round(sum(busy.values()), 1), "memory_gb": round(memory / 1e9, 2)}


def _look(root: psutil.Process, busy: dict[int, float]) -> int:
    """Return the resident memory of a process and its children, in bytes; put their processor time into `busy`."""
    total = 0
    try:
        for process in [root, *root.children(recursive=True)]:
            try:
                total += process.memory_info().rss
                times = process.cpu_times()
                busy[process.pid] = times.user + times.system
            except psutil.Error:  # the process has just ended
                continue
    except psutil.Error:
        return total
    return total


def main() -> None:
    """Measure each size on each engine; with --one, run one search and print its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--repeats", type=int, default=1, help="of each measurement; the fastest counts (default: 1)")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(search(int(given.one[0]), given.one[1])))
        return
    for n in _SIZES:
        runs = {engine: [measure(n, engine) for _ in range(given.repeats)] for engine in _ENGINES}
        for engine, found in runs.items():
            print({"hashes": n, "engine": engine, **min(found, key=lambda row: row["seconds"])}, flush=True)


if __name__ == "__main__":
    guarded(main)
