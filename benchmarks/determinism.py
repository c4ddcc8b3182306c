"""Runs a small experiment in fresh clones, on other numbers of cores and of threads, and compares what comes of it.

python -m benchmarks.determinism [--folder DIR]

prints a table: how many files of `metrics/`, and how many of all outputs by dvc.lock, differ from those of the first
run. Its networks are larger than those of the kill test, as TensorFlow divides no small sum.
"""

import argparse
import contextlib
import dataclasses
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from benchmarks import small_experiment
from terracyte.core import dvc
from terracyte.core.errors import InputError, guarded
from terracyte.core.quiet import THREADS

_NETWORK = {"width": 16, "depth": 3}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """A run of the experiment.

    Attributes:
        name: of its folder.
        cores: that it may use.
        threads: that TensorFlow is told to use; None for what the code chooses.
    """

    name: str
    cores: int
    threads: int | None = None


@dataclasses.dataclass(frozen=True)
class Outputs:
    """What came of a run: files of `metrics/`, and hashes of all outputs, by path."""

    metrics: dict[str, bytes]
    hashes: dict[str, str]


def runs(cores: int) -> list[Run]:
    """Those that are compared, on a machine of so many cores; the first is what the others are compared with."""
    return [
        Run(name="first", cores=cores),
        Run(name="again", cores=cores),
        Run(name="one core", cores=1),
        Run(name="two threads", cores=cores, threads=2),
        Run(name="two threads on one core", cores=1, threads=2),
    ]


def execute(run: Run, parent: Path) -> Outputs:
    """Run the experiment in a folder of its own.

    Raises:
        InputError: it failed.
    """
    folder = parent / run.name.replace(" ", "_")
    small_experiment.write(folder, _NETWORK)
    threads = {} if run.threads is None else dict.fromkeys(THREADS, str(run.threads))
    variables = {name: value for name, value in dvc.environment().items() if name not in THREADS}
    own = {"PYTHONPATH": str(folder), "DVC_SITE_CACHE_DIR": str(folder.with_suffix(".site")), "DVC_NO_ANALYTICS": "1"}
    allowed = sorted(os.sched_getaffinity(0))[: run.cores]
    with folder.with_suffix(".log").open("wb") as log:
        process = subprocess.run(
            ["taskset", "--cpu-list", ",".join(map(str, allowed)), *dvc.command("repro")],
            cwd=folder,
            env={**variables, **own, **threads},
            stdout=log,
            stderr=log,
            check=False,
        )
    if process.returncode:
        raise InputError(f"the run '{run.name}' failed: {log.name} says why")
    lock: Any = YAML(typ="safe").load((folder / "dvc.lock").read_text(encoding="utf-8"))
    hashes = {each["path"]: each["md5"] for stage in lock["stages"].values() for each in stage["outs"]}
    return Outputs(small_experiment.metrics(folder), hashes)


def main() -> None:
    """Run and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the clones are made, and stay (a temporary folder)")
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="terracyte-")))
        print(
            "| run | cores | threads | files of `metrics/` that differ | outputs that differ |\n|---|---|---|---|---|"
        )
        first = None
        for run in runs(len(os.sched_getaffinity(0))):
            found = execute(run, folder.resolve())
            first = first or found
            counts = f"{_differ(first.metrics, found.metrics)} | {_differ(first.hashes, found.hashes)}"
            print(f"| {run.name} | {run.cores} | {run.threads or 'as it comes'} | {counts} |", flush=True)


def _differ(one: dict[str, Any], other: dict[str, Any]) -> str:
    different = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    return f"{len(different)} of {len(one)}"


if __name__ == "__main__":
    guarded(main)
