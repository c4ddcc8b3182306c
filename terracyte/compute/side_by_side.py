"""Trains variants side by side: as `dvc repro`, with several variants at a time.

python -m terracyte.compute.side_by_side --workers 4 [VARIANT...]

DVC runs one stage after another. So it is asked which trainings and evaluations are due; these run as processes of
their own, and what they leave behind is committed to DVC in one go. Everything else is left to `dvc repro`. With
`compute.engine: ray` the processes here only wait for their trainings, which run on the cluster.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from terracyte import compute, params
from terracyte.core import paths
from terracyte.core.errors import InputError, guarded
from terracyte.tracking import store

_STAGES = ("train", "evaluate")


def due(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The stages that are out of date, by variant; what is trained is evaluated, too."""
    # of all variants: DVC reads its lock file anew for each target that it is given
    changed = json.loads(_dvc("status", "--json", *_STAGES))
    first = {name: next((i for i, stage in enumerate(_STAGES) if f"{stage}@{name}" in changed), None) for name in names}
    return {name: _STAGES[i:] for name, i in first.items() if i is not None}


def run(jobs: dict[str, tuple[str, ...]], workers: int, whole: bool = False) -> list[str]:
    """Run the stages of each variant, `workers` variants at a time, and commit the finished ones to DVC.

    A variant that fails leaves the others alone: they finish, and are committed.

    Args:
        jobs: see `due`.
        workers: processes at a time.
        whole: whether no other variant is out of date.

    Returns:
        One line per variant that failed.
    """
    with ThreadPoolExecutor(workers) as pool:
        results = pool.map(lambda job: _run(*job), jobs.items())
        failures = dict(zip(jobs, tqdm(results, "variants", len(jobs), disable=None), strict=True))
    finished = [f"{stage}@{name}" for name, stages in jobs.items() if not failures[name] for stage in stages]
    if finished and whole and not any(failures.values()):
        # 15 s instead of 5 min for 27 variants
        finished = list(_STAGES)
    if finished:
        _dvc("commit", "--force", *finished)
    return [f"{name}: {failure}" for name, failure in failures.items() if failure]


def _run(name: str, stages: Sequence[str]) -> str:
    """Run one variant's stages, their output in its log; why it failed, or nothing."""
    log = _log(name)
    for stage in stages:
        with log.open("a", encoding="utf-8") as stream:
            command = [sys.executable, "-m", f"stages.{stage}", name]
            code = subprocess.run(command, stdout=stream, stderr=subprocess.STDOUT, check=False).returncode
        if code:
            lines = log.read_text(encoding="utf-8").splitlines() or ["no output"]
            return f"{stage} failed with exit code {code}: {lines[-1]} (all of it: {log})"
    return ""


def _log(name: str) -> Path:
    log = paths.LOGS / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("", encoding="utf-8")
    return log


def _dvc(*arguments: str) -> str:
    result = subprocess.run([sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True, check=False)
    if result.returncode:
        raise InputError(f"`dvc {arguments[0]}` failed: {(result.stderr.strip() or 'no message').splitlines()[-1]}")
    return result.stdout


def main() -> None:
    """Run the stages before the trainings, then what is due side by side, then everything else."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2, help="variants at a time (default: 2)")
    parser.add_argument("variants", nargs="*", metavar="VARIANT", help="only these, and nothing after them")
    arguments = parser.parse_args()
    if arguments.workers < 1:
        raise InputError(f"--workers is {arguments.workers}: it must be 1 or more")
    settings = params.load()
    names = arguments.variants or list(settings.variants)
    for name in names:
        settings.variant(name)  # an unknown one is refused before anything runs
    _repro([f"fetch@{name}" for name in names] + [f"tune@{task}" for task in params.TASKS])
    store.prepare()  # once: processes that start at the same time would wait for one another
    with compute.shared(settings.compute):
        failures = run(due(names), arguments.workers, whole=not arguments.variants)
    if failures:
        raise InputError("; ".join(failures))
    if not arguments.variants:
        _repro([])


def _repro(targets: Sequence[str]) -> None:
    code = subprocess.run([sys.executable, "-m", "dvc", "repro", *targets], check=False).returncode
    if code:
        raise InputError(f"`dvc repro {' '.join(targets)}` failed: its message stands above")


if __name__ == "__main__":
    guarded(main)
