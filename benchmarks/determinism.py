"""Find what changes results besides inputs: a small experiment in fresh clones, networks on more threads and cores.

python -m benchmarks.determinism clones [--folder DIR]   # compare metrics/ and all outputs with the first run's
python -m benchmarks.determinism threads                 # compare networks after two steps with one thread's

Both print a table.
"""

import argparse
import contextlib
import hashlib
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from benchmarks import small_experiment
from terracyte.core import dvc, quiet
from terracyte.core.errors import InputError, guarded

_NETWORKS = ("blood-cnn", "blood-mobilenet_v3_large", "blood-efficientnet_lite0", "mars-unet_4", "mars-unet_final")
_REAL = small_experiment.ROOT / "real"  # the experiment in which networks have their real sizes
_STEPS = 2
_THREADS = (1, 2, 8)


def compare_clones(folder: Path) -> None:
    """Run the small experiment twice, and once more on one core."""
    cores = os.sched_getaffinity(0)
    print("| run | cores | files of `metrics/` that differ | outputs that differ |\n|---|---|---|---|")
    first = None
    for name, allowed in (("first", cores), ("another clone", cores), ("on one core", {min(cores)})):
        found = _run(folder / name.replace(" ", "_"), allowed)
        first = first or found
        differ = [
            f"{sum(one.get(key) != other.get(key) for key in {**one, **other})} of {len(one)}"
            for one, other in zip(first, found, strict=True)
        ]
        print(f"| {name} | {len(allowed)} | {' | '.join(differ)} |", flush=True)


def _run(folder: Path, cores: set[int]) -> tuple[Mapping[str, object], Mapping[str, object]]:
    """Run the experiment in a new folder; return the content of the files in `metrics/` and all outputs' hashes.

    Raises:
        InputError: the run failed.
    """
    small_experiment.write(folder)
    own = {"PYTHONPATH": str(folder), "DVC_SITE_CACHE_DIR": str(folder.with_suffix(".site")), "DVC_NO_ANALYTICS": "1"}
    with folder.with_suffix(".log").open("wb") as log:
        command = _on(cores, dvc.command("repro"))
        process = subprocess.run(command, cwd=folder, env={**_variables(), **own}, stdout=log, stderr=log, check=False)
    if process.returncode:
        raise InputError(f"the run failed: {log.name} says why")
    lock: Any = YAML(typ="safe").load((folder / "dvc.lock").read_text(encoding="utf-8"))
    hashes = {each["path"]: each["md5"] for stage in lock["stages"].values() for each in stage["outs"]}
    return small_experiment.metrics(folder), hashes


def compare_threads() -> None:
    """Train each network for some steps, with several numbers of threads on all cores and on one."""
    cores = os.sched_getaffinity(0)
    print(f"| threads | cores | {' | '.join(_NETWORKS)} |\n|---|---|{'---|' * len(_NETWORKS)}")
    first: dict[str, str] = {}
    for threads in _THREADS:
        for allowed in (cores, {min(cores)}):
            variables = {**_variables(), **dict.fromkeys(quiet.THREADS, str(threads))}
            command = _on(allowed, [sys.executable, "-m", "benchmarks.determinism", "steps"])
            said = subprocess.run(command, env=variables, stdout=subprocess.PIPE, text=True, check=True).stdout
            found = json.loads(said)
            first = first or found
            words = ["the same" if found[name] == first[name] else "other" for name in _NETWORKS]
            print(f"| {threads} | {len(allowed)} | {' | '.join(words)} |", flush=True)


def _on(cores: set[int], command: Sequence[str]) -> list[str]:
    return ["taskset", "--cpu-list", ",".join(map(str, sorted(cores))), *command]


def _variables() -> dict[str, str]:
    """Return the environment variables of DVC without those that set numbers of threads."""
    return {name: value for name, value in dvc.environment().items() if name not in quiet.THREADS}


def take_steps() -> None:
    """Print the hash of each network's weights and optimizer after the steps, on random images."""
    import numpy as np

    with quiet.importing_keras():
        from terracyte import models, params, tasks
        from terracyte.models.inference import make_repeatable
        from terracyte.models.problem import Problem
        from terracyte.train import losses, optimizers
    # each network is traced anew, which TensorFlow warns against
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    settings = params.load(_REAL)
    found = {}
    for name in _NETWORKS:
        make_repeatable(0)
        config, task = settings.config(name), tasks.make(settings.variants[name].task, settings)
        classes, size = len(task.classes), config.batch_size
        problem = Problem(image_shape=task.image_shape, dense=task.dense, class_shares=(1 / classes,) * classes)
        model = models.build(config, problem)
        loss = losses.make(config, [1.0] * classes, task.dense)
        model.compile(optimizers.make(config, config.learning_rate, _STEPS), loss, jit_compile=False)
        random = np.random.default_rng(0)
        images = random.integers(0, 256, (size, *task.image_shape)).astype(np.float32)
        labels = random.integers(0, classes, (size, *task.image_shape[:2]) if task.dense else size)
        for _ in range(_STEPS):
            model.train_on_batch(images, np.eye(classes, dtype=np.float32)[labels])
        # Lion moves weights by the sign of a mean of gradients: rounding shows in its variables, rarely in weights
        state = [np.asarray(each) for each in (*model.variables, *model.optimizer.variables)]
        found[name] = hashlib.sha256(b"".join(each.tobytes() for each in state)).hexdigest()
    print(json.dumps(found))


def main() -> None:
    """Run the chosen comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["clones", "threads", "steps"], help="steps: what `threads` calls")
    parser.add_argument("--folder", type=Path, help="where the clones are made, and stay (a temporary folder)")
    given = parser.parse_args()
    if given.part == "threads":
        compare_threads()
    elif given.part == "steps":
        take_steps()
    else:
        with contextlib.ExitStack() as stack:
            folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="terracyte-")))
            compare_clones(folder.resolve())


if __name__ == "__main__":
    guarded(main)
