"""Measure how long the report of many runs takes, in a project in which all stages before it seem to have run.

python -m benchmarks.report [--rows 10] [--seeds 3] [--images 6000]

Makes a throw-away experiment of both tasks with that many rows each, and runs stage `report` of both tasks twice: into
an empty MLflow store, and into one that holds all runs.
"""

import argparse
import contextlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from terracyte import params, tasks
from terracyte.core import paths
from terracyte.core.errors import guarded

ROOT = Path(__file__).parents[1]
_TASKS = ("blood", "mars")


def main() -> None:
    """Measure, and print what was found as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10, help="of each task (10)")
    parser.add_argument("--seeds", type=int, default=3, help="of each row (3)")
    parser.add_argument("--images", type=int, default=6000, help="of each task, a third of them for test (6000)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="terracyte-") as folder, contextlib.chdir(folder):
        build(arguments.rows, arguments.seeds, arguments.images)
        runs = len(_TASKS) * arguments.rows * arguments.seeds
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        print("| report of | seconds | processor time, s |\n| --- | --- | --- |")
        for store in ("an empty store", "a store that holds them"):
            before, start = _processor_time(), time.monotonic()
            for task in _TASKS:
                subprocess.run([sys.executable, ROOT / "stages/report.py", task], check=True, env=environment)
            wall, used = time.monotonic() - start, _processor_time() - before
            print(f"| {runs} runs, {store} | {wall:.0f} | {used:.0f} |", flush=True)


def build(rows: int, seeds: int, images: int) -> None:
    """Fill the working directory with a project in which all stages before `report` seem to have run."""
    from tests import finished_project

    for name in ("params.yaml", "experiment.yaml"):
        shutil.copy(ROOT / name, ".")
    # each row has another width, so that all configurations differ
    variants: dict[str, dict[str, Any]] = {
        f"{task}-{number}": {"task": task, "title": f"row {number}", "change": {"width": 8 + number}}
        for task in _TASKS
        for number in range(rows)
    }
    finished_project.build(variants, range(seeds), images)
    # the registry reads models, but `finished_project` writes empty files
    from terracyte import models
    from terracyte.models.problem import Problem
    from terracyte.models.serialization import write_model

    settings = params.load()
    for name in _TASKS:
        task = tasks.make(name, settings)
        shares = tuple(1 / len(task.classes) for _ in task.classes)
        problem = Problem(image_shape=task.image_shape, dense=task.dense, class_shares=shares)
        network = models.build(settings.config(f"{name}-0"), problem)
        for file in [*(paths.DATA / name).rglob("*.keras")]:
            write_model(file, network)


def _processor_time() -> float:
    """Return the processor time in seconds of the ended children of this process."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    guarded(main)
