"""The stages of an experiment, run by DVC: those of several tasks or rows side by side."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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
        workers: how many tasks, then rows, run at a time.
        targets: stages that DVC alone brings up to date, with what they need; none for all.

    Raises:
        InputError: the experiment's files are malformed, or a stage failed.
        KeyboardInterrupt: with the words that say what became of the outputs.
    """
    check(folder)
    for part in (paths.DATA, paths.METRICS):
        files.remove_abandoned(folder / part)
    try:
        with dvc.keeping_outputs(folder):
            done = _run(folder, *targets) if targets else _is_current(folder) or _run_all(folder, workers)
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
    return (
        _run(folder, "fetch")
        and _side_by_side(folder, workers, _DATA)
        and _side_by_side(folder, workers, _ROW)
        and _side_by_side(folder, workers, _RESULTS)
        and _run(folder)
    )


def _run(folder: Path, *arguments: str) -> bool:
    return dvc.succeeds("repro", *arguments, folder=folder)


def _side_by_side(folder: Path, workers: int, stages: Sequence[str]) -> bool:
    """Run these stages of each task or row; where one fails, the others go on."""
    prefix = f"{stages[0]}@"
    listed = dvc.run("stage", "list", "--name-only", folder=folder).split()
    names = [name.removeprefix(prefix) for name in listed if name.startswith(prefix)]

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
