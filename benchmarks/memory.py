"""Measure how much memory a training takes, and whether it grows with the number of epochs.

python -m benchmarks.memory [--epochs 1 2 4 8]                            # a tiny training, of 24 images
python -m benchmarks.memory --experiment real --row blood-cnn --epochs 1  # a real one, after its `balance`

Trains a row in a throw-away experiment, in a process of its own for each number of epochs, and prints the largest
memory (RSS) that the process held. benchmarks.serving measures how the server's memory grows with requests.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from terracyte.core import paths
from terracyte.core.errors import InputError, guarded

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Measure, and print what was found as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiment", type=Path, help="whose images, with `balance` done (tiny ones)")
    parser.add_argument("--row", default="blood-cnn", help="what is trained (blood-cnn)")
    parser.add_argument("--epochs", type=int, nargs="+", default=[1, 2, 4, 8], help="of each training (1 2 4 8)")
    arguments = parser.parse_args()
    experiment = arguments.experiment and arguments.experiment.resolve()
    print("| row | epochs | memory, MiB |\n| --- | --- | --- |")
    for epochs in arguments.epochs:
        with tempfile.TemporaryDirectory(prefix="terracyte-") as folder, contextlib.chdir(folder):
            _prepare(experiment, arguments.row, epochs)
            print(f"| {arguments.row} | {epochs} | {_train(arguments.row) / 2**20:.0f} |", flush=True)


def _prepare(experiment: Path | None, row: str, epochs: int) -> None:
    """Make the working directory an experiment that trains the row for `epochs` epochs."""
    from ruamel.yaml import YAML

    yaml = YAML()
    for name in (paths.PARAMS, paths.EXPERIMENT):
        name.write_bytes(((experiment or ROOT) / name).read_bytes())
    if experiment is None:
        from tests import balanced_project

        balanced_project.write(Path.cwd())
    task = row.partition("-")[0]
    content: Any = yaml.load(paths.EXPERIMENT)
    content["override"] = {**content.get("override", {}), f"reference.{task}": {"epochs": epochs, "patience": epochs}}
    yaml.dump(content, paths.EXPERIMENT)
    if experiment is not None:
        for file in (paths.raw(task), paths.balance_manifest(task), paths.balance(task), paths.PRETRAINED):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.symlink_to(experiment / file)
        paths.tuned(task).write_text("{}")
    _run("configure", task)


def _train(row: str) -> int:
    """Train a row; return the largest memory that its process held, in bytes."""
    process = _start("train", row)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise InputError(f"training {row} failed, as said above")
    return used.ru_maxrss * (1024 if sys.platform == "linux" else 1)


def _run(stage: str, name: str) -> None:
    if _start(stage, name).wait():
        raise InputError(f"{stage} {name} failed, as said above")


def _start(stage: str, name: str) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    # the stage's output must not get into the table
    return subprocess.Popen([sys.executable, ROOT / f"stages/{stage}.py", name], env=environment, stdout=sys.stderr)


if __name__ == "__main__":
    guarded(main)
