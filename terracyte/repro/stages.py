"""The stages of an experiment, run by DVC: those of several tasks or rows side by side."""

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from terracyte import params
from terracyte.core import cores, dvc, files, paths, processes
from terracyte.core.errors import InputError
from terracyte.params.check import check

# DVC runs one stage after another, and these need nothing of another task or row; the last DVC does what is left.
_DATA = ("ingest", "validate", "clean", "balance", "tune", "configure")
_ROW = ("train", "evaluate")
_RESULTS = ("promote", "report", "submit")


def reproduce(folder: Path, workers: int, targets: Sequence[str] = ()) -> None:
    """Run what is out of date; where a stage fails, or at Ctrl-C, the previous outputs come back.

    Args:
        folder: of the experiment.
        workers: how many tasks, then rows, run at a time; cores that rows leave idle train their seeds side by side.
        targets: stages, brought up to date with what they need; none for all.

    Raises:
        InputError: the experiment's files are malformed, or a stage failed.
        KeyboardInterrupt: with the words that say what became of the outputs.
    """
    check(folder)
    for part in (paths.DATA, paths.METRICS):
        files.remove_abandoned(folder / part)
    try:
        with dvc.keeping_outputs(folder):
            done = _run_targets(folder, workers, targets) if targets else _run_all(folder, workers)
            if not done:
                raise InputError("a stage failed, as said above; the outputs before it are back")
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt("the outputs of unfinished stages are those of before") from error


def _is_current(folder: Path) -> bool:
    try:
        dvc.run("status", "--quiet", "dvc.yaml", folder=folder)
    except InputError:  # what else may be wrong `dvc repro` will say
        return False
    return True


def _run_all(folder: Path, workers: int) -> bool:
    if _is_current(folder):
        return True
    if not (_run(folder, "fetch") and _side_by_side(folder, workers, _DATA)):
        return False
    stale = _stale(folder, _names(folder, "train"))
    if len(stale) < workers:
        _train_seeds(folder, workers, stale)
    return _side_by_side(folder, workers, _ROW) and _side_by_side(folder, workers, _RESULTS) and _run(folder)


def _run_targets(folder: Path, workers: int, targets: Sequence[str]) -> bool:
    """DVC runs rows that are named here one after another: seeds of all of them are trained side by side before."""
    rows = [name for stage, _, name in (target.partition("@") for target in targets) if stage in _ROW and name]
    if rows:
        if not _ready(folder, rows):
            return False
        _train_seeds(folder, workers, _stale(folder, rows))
    return _run(folder, *targets)


def _ready(folder: Path, rows: Sequence[str]) -> bool:
    """Bring up to date what these rows' trainings read."""
    settings = params.load(folder)
    tasks = sorted({settings.row(name).task for name in rows})
    return _run(folder, "fetch", *(f"configure@{task}" for task in tasks))


def _stale(folder: Path, rows: Sequence[str]) -> list[str]:
    """The rows whose training DVC would run, or take from its cache."""
    said = dvc.run("repro", "--dry", "--single-item", *(f"train@{row}" for row in rows), folder=folder)
    return [row for row in rows if f"Running stage 'train@{row}'" in said]


def _train_seeds(folder: Path, workers: int, rows: Sequence[str]) -> None:
    """Do the trainings of several seeds before their stage: it trains one after another, from where each has come."""
    if rows and workers > 1:
        command = [sys.executable, "-m", "terracyte.repro.seeds", str(workers), *rows]
        processes.call(command, folder, {**dvc.environment(), **cores.shared(workers)}, restarts=True)


def _names(folder: Path, stage: str) -> list[str]:
    """Of which tasks or rows there is this stage."""
    listed = dvc.run("stage", "list", "--name-only", folder=folder).split()
    return [name.removeprefix(f"{stage}@") for name in listed if name.startswith(f"{stage}@")]


def _run(folder: Path, *arguments: str) -> bool:
    return dvc.succeeds("repro", *arguments, folder=folder)


def _side_by_side(folder: Path, workers: int, stages: Sequence[str]) -> bool:
    """Run these stages of each task or row; where one fails, the others go on."""
    names = _names(folder, stages[0])
    share = cores.shared(min(workers, max(len(names), 1)))

    def run_one(name: str) -> bool:
        targets = (f"{stage}@{name}" for stage in stages)
        return dvc.succeeds("repro", "--single-item", *targets, folder=folder, variables=share)

    with ThreadPoolExecutor(workers) as pool, processes.ending_children():
        # backwards: the last rows of a table take longest
        waiting = [pool.submit(run_one, name) for name in sorted(names, reverse=True)]
        try:
            results = [each.result() for each in waiting]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    return all(results)
