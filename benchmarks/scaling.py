"""Measures how searches, trainings and the near-duplicate search scale on this machine: docs/scaling.md.

python -m benchmarks.scaling hashes       # 10^4, 10^5 and 10^6 generated hashes, local against Ray
python -m benchmarks.scaling trainings    # trials and variants per minute with 1, 2 and 4 workers, local against Ray

Both print a table and replace their part of docs/results/scaling.json. Each measurement is a process of its own; its
memory is the sum over it and all its children (what they share counts several times).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from terracyte import compute, params
from terracyte.core import files, paths
from terracyte.core.errors import InputError, guarded
from terracyte.images.similarity.hamming import hash_pairs
from terracyte.images.similarity.pairs import components
from terracyte.params import Compute
from terracyte.tasks import make
from terracyte.tune.study import Outcome

OUTPUT = Path("docs/results/scaling.json")

_SIZES = (10_000, 100_000, 1_000_000)
_ENGINES = ("local", "ray")
_WORKERS = (1, 2, 4)
_BITS = 11  # `clean.<task>.near_duplicate_bits`
_COPIES = 10  # a tenth of the hashes are near duplicates of others
_FLIPPED = 5  # bits, at most
_TASK, _VARIANT = "mars", "mars-unet_1"

Row = dict[str, Any]


def planted(n: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """n random hashes, the last tenth of them others with up to five bits flipped; (n,) the row of each's original."""
    random = np.random.default_rng(n)
    originals = n - n // _COPIES
    hashes = random.integers(0, 2**64, n, np.uint64)
    initialisation = np.arange(n)
    # a fifth of them from the same few: groups of many
    initialisation[originals:] = random.integers(0, originals // 5, n - originals)
    flips = (np.uint64(1) << random.integers(0, 64, (_FLIPPED, n - originals), np.uint64)).astype(np.uint64)
    hashes[originals:] = hashes[initialisation[originals:]] ^ np.bitwise_xor.reduce(flips, axis=0)
    return hashes, initialisation


def search(n: int, engine: str) -> Row:
    """Find the groups of n generated hashes, as `clean` does; time, pairs, and whether all planted ones are found."""
    hashes, initialisation = planted(n)
    with compute.using(_compute(engine, os.cpu_count() or 1)):
        start = time.monotonic()
        pairs = hash_pairs(hashes, _BITS)
        groups = components(n, pairs)
        seconds = time.monotonic() - start
    return {"seconds": round(seconds, 2), "pairs": len(pairs), "found": bool((groups == groups[initialisation]).all())}


def train(kind: str, count: int, engine: str, workers: int) -> Row:
    """Run `count` trials or trainings of a small network on the project's data; time, all start-up included."""
    with _small_project():
        settings = params.load()
        jobs, function = _jobs(kind, count)
        from terracyte.train import inputs as luggage

        inputs = luggage.of_training(make(_TASK, settings), _VARIANT)
        start = time.monotonic()
        results = list(compute.run(function, jobs, _compute(engine, workers), inputs, lambda job, message: False))
        seconds = time.monotonic() - start
    failed = [str(each) for _, each in results if isinstance(each, compute.Lost | Outcome) and _is_failure(each)]
    if failed:
        raise InputError(f"{len(failed)} of {count} failed: {failed[0]}")
    return {"seconds": round(seconds, 2), "per_minute": round(60 * count / seconds, 2)}


def _is_failure(result: compute.Lost | Outcome) -> bool:
    return isinstance(result, compute.Lost) or result.state == "failed"


def _compute(engine: str, workers: int) -> Compute:
    return Compute(engine="ray" if engine == "ray" else "local", workers=workers)


def _jobs(kind: str, count: int) -> tuple[list[Any], Any]:
    if kind == "trials":
        from terracyte.tune import trial

        return [trial.TrialJob(_TASK, "scaling", n, {"learning_rate": 1e-3}) for n in range(count)], trial.run
    from terracyte.core import quiet
    from terracyte.params import row

    with quiet.importing_keras():
        from terracyte.train import variant
    identities = row.read(_TASK, _VARIANT).identities
    return [variant.Job(identity=each, title="") for each in identities], variant.run


@contextmanager
def _small_project() -> Iterator[None]:
    """This project's data beside params that make trainings short, as the working directory."""
    from ruamel.yaml import YAML

    yaml, here = YAML(), Path.cwd()
    content = yaml.load(paths.PARAMS.read_text(encoding="utf-8"))
    content["seeds"] = list(range(_JOBS))
    content["reference"][_TASK].update(width=4, depth=2, epochs=2)
    space = {"learning_rate": {"low": 1e-4, "high": 1e-2, "scale": "log"}}  # others are fixed by the variant
    content["tune"][_TASK].update(variant=_VARIANT, share=0.3, change={"epochs": 2}, space=space)
    with tempfile.TemporaryDirectory(prefix="terracyte-") as folder, chdir(folder):
        for path in (paths.METRICS, paths.DATA / _TASK):
            Path(path).parent.mkdir(exist_ok=True)
            Path(path).symlink_to(here / path)
        with paths.PARAMS.open("w", encoding="utf-8") as stream:
            yaml.dump(content, stream)
        yield


_JOBS = 4


def measure(*arguments: str) -> Row:
    """Run this module's measurement as a process: what it says, its processor time and its largest memory."""
    command = [sys.executable, "-m", "benchmarks.scaling", "--one", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    memory, busy = 0, dict[int, float]()
    root = psutil.Process(process.pid)
    while process.poll() is None:
        memory = max(memory, _look(root, busy))
        time.sleep(0.2)
    assert process.stdout is not None
    lines = process.stdout.read().splitlines()
    if process.returncode:
        raise InputError(f"measuring {' '.join(arguments)} failed with exit code {process.returncode}")
    row: Row = json.loads(lines[-1])
    return {**row, "processor_seconds": round(sum(busy.values()), 1), "memory_gb": round(memory / 1e9, 2)}


def _look(root: psutil.Process, busy: dict[int, float]) -> int:
    """Resident memory of a process and its children, in bytes; their processor time goes into `busy`."""
    total = 0
    try:
        for process in [root, *root.children(recursive=True)]:
            try:
                total += process.memory_info().rss
                times = process.cpu_times()
                busy[process.pid] = times.user + times.system
            except psutil.Error:  # it has just ended
                continue
    except psutil.Error:
        return total
    return total


def measure_hashes(repeats: int) -> list[Row]:
    """Each size on each engine, alternating; of each the fastest run."""
    rows = []
    for n in _SIZES:
        runs = {engine: [measure("search", str(n), engine) for _ in range(repeats)] for engine in _ENGINES}
        for engine, found in runs.items():
            rows.append({"hashes": n, "engine": engine, **min(found, key=lambda row: row["seconds"])})
            print(rows[-1], flush=True)
    return rows


def measure_trainings(repeats: int) -> list[Row]:
    """Each kind, engine and number of workers, in turns, so that other work on the machine meets all alike."""
    cases = [(kind, engine, workers) for kind in ("trials", "variants") for workers in _WORKERS for engine in _ENGINES]
    runs: dict[tuple[str, str, int], list[Row]] = {case: [] for case in cases}
    for _ in range(repeats):
        for kind, engine, workers in cases:
            runs[kind, engine, workers].append(measure(kind, str(_JOBS), engine, str(workers)))
            print(kind, engine, workers, runs[kind, engine, workers][-1], flush=True)
    rows = []
    for (kind, engine, workers), found in runs.items():
        best = min(found, key=lambda row: row["seconds"])
        rows.append({"kind": kind, "engine": engine, "workers": workers, "jobs": _JOBS, **best})
    return rows


def main() -> None:
    """Measure one part, or, in a process of its own, one thing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--repeats", type=int, default=1, help="of each measurement; the fastest counts (default: 1)")
    parser.add_argument("part", help="hashes or trainings")
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(_one(given.part, given.rest)))
        return
    parts = {"hashes": measure_hashes, "trainings": measure_trainings}
    if given.part not in parts:
        raise InputError(f"there is no part {given.part!r}: choose hashes or trainings")
    known = files.read_json(OUTPUT) if OUTPUT.exists() else {}
    files.write_json(OUTPUT, {**known, given.part: parts[given.part](given.repeats)})
    print(f"{OUTPUT} is written")


def _one(part: str, rest: list[str]) -> Row:
    if part == "search":
        return search(int(rest[0]), rest[1])
    return train(part, int(rest[0]), rest[1], int(rest[2]))


if __name__ == "__main__":
    guarded(main)
