"""Run the stages of an experiment with DVC, those of several tasks or rows side by side."""

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from terracyte import params
from terracyte.core import cores, dvc, files, paths, processes
from terracyte.core.errors import InputError
from terracyte.params.check import check

# One DVC runs stages one after another, but these do not depend on other tasks or rows, so several DVCs run them at a
# time; a last `dvc repro` runs what is left.
_DATA = ("ingest", "validate", "clean", "balance", "tune", "configure")
_ROW = ("train", "evaluate")
_RESULTS = ("promote", "report", "submit")


def reproduce(folder: Path, workers: int, targets: Sequence[str] = ()) -> None:
    """Run the stages that are out of date; if one fails, or on Ctrl-C, restore the previous outputs.

    Args:
        folder: the experiment's folder.
        workers: how many tasks, then rows, run at a time; seeds, too, if fewer rows are out of date.
        targets: stages to bring up to date, with the stages they depend on; empty for all stages.

    Raises:
        InputError: the experiment's files are malformed, or a stage failed.
        KeyboardInterrupt: with a message that says which outputs are there.
    """
    check(folder)
    for part in (paths.DATA, paths.METRICS):
        files.remove_abandoned(folder / part)
    try:
        with dvc.keeping_outputs(folder):
            done = _run_targets(folder, workers, targets) if targets else _run_all(folder, workers)
            if not done:
                raise InputError("a stage failed, see above; its previous outputs are restored")
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt("the previous outputs of unfinished stages are restored") from error


def _is_current(folder: Path) -> bool:
    try:
        dvc.run("status", "--quiet", "dvc.yaml", folder=folder)
    except InputError:  # or the command failed: `dvc repro` will report why
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
    return (
        _side_by_side(folder, _rows_at_once(folder, workers), _ROW)
        and _side_by_side(folder, workers, _RESULTS)
        and _run(folder)
    )


def _rows_at_once(folder: Path, workers: int) -> int:
    """Return how many rows run at a time, within what `compute` of params.yaml allows."""
    where = params.load(folder).compute
    if where.data_parallel:  # one training occupies all devices
        return 1
    limited = where.engine == "local" and where.workers != "auto"
    return min(workers, int(where.workers)) if limited else workers


def _run_targets(folder: Path, workers: int, targets: Sequence[str]) -> bool:
    """Run the targets. DVC runs rows one after another, so seeds of all named rows are first trained side by side."""
    rows = [name for stage, _, name in (target.partition("@") for target in targets) if stage in _ROW and name]
    if rows:
        if not _ready(folder, rows):
            return False
        _train_seeds(folder, workers, _stale(folder, rows))
    return _run(folder, *targets)


def _ready(folder: Path, rows: Sequence[str]) -> bool:
    """Bring the stages that these rows' trainings depend on up to date; return whether they succeeded."""
    settings = params.load(folder)
    tasks = sorted({settings.row(name).task for name in rows})
    return _run(folder, "fetch", *(f"configure@{task}" for task in tasks))


def _stale(folder: Path, rows: Sequence[str]) -> list[str]:
    """Return the rows whose training DVC would run or restore from its cache."""
    said = dvc.run("repro", "--dry", "--single-item", *(f"train@{row}" for row in rows), folder=folder)
    return [row for row in rows if f"Running stage 'train@{row}'" in said]


def _train_seeds(folder: Path, workers: int, rows: Sequence[str]) -> None:
    """Train seeds side by side before their stage, which trains one after another, each from its checkpoint."""
    if rows and workers > 1:
        command = [sys.executable, "-m", "terracyte.repro.seeds", str(workers), *rows]
        processes.call(command, folder, {**dvc.environment(folder), **cores.shared(workers)}, restarts=True)


def _names(folder: Path, stage: str) -> list[str]:
    """Return the names of the tasks or rows that have this stage."""
    listed = dvc.run("stage", "list", "--name-only", folder=folder).split()
    return [name.removeprefix(f"{stage}@") for name in listed if name.startswith(f"{stage}@")]


def _run(folder: Path, *arguments: str) -> bool:
    return dvc.succeeds("repro", *arguments, folder=folder)


def _side_by_side(folder: Path, workers: int, stages: Sequence[str]) -> bool:
    """Run these stages of each task or row; if one fails, the others go on. Return whether all succeeded."""
    names = _names(folder, stages[0])
    share = cores.shared(min(workers, max(len(names), 1)))

    def run_one(name: str) -> bool:
        targets = (f"{stage}@{name}" for stage in stages)
        return dvc.succeeds("repro", "--single-item", *targets, folder=folder, variables=share)

    with ThreadPoolExecutor(workers) as pool, processes.ending_children():
        # in reverse order of names, which starts most of the longest trainings first
        waiting = [pool.submit(run_one, name) for name in sorted(names, reverse=True)]
        try:
            results = [each.result() for each in waiting]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    return all(results)
