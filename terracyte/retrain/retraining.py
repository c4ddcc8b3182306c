"""Run a retraining, from the first stage to the gate's verdict."""

import contextlib
import dataclasses
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from terracyte import params, tasks
from terracyte.core import dvc, files, paths
from terracyte.core.errors import InputError, explained, masked, one_line
from terracyte.params.check import require_current_stages
from terracyte.retrain import comment, pipeline, revision
from terracyte.retrain.comment import Comparison, Retrained
from terracyte.retrain.gate import judge, without_task
from terracyte.retrain.results import gather, task_names

OUTPUT = paths.DATA / "retraining"
"""Relative to the folder where the command is called, as one retraining may cover several experiments."""


def retrain(
    base: str, experiments: Sequence[Path], *, promote: bool = False, push: bool = True, update: bool = False
) -> bool:
    """Bring the stages up to date, compare the results with those of the base, and write the outcome to `OUTPUT`.

    Args:
        base: a revision that git knows; results are compared with the commit where HEAD's history left it.
        experiments: folders of experiments in one repository.
        promote: run `promote` and the stages after it, too, once the gate has let all experiments pass. Without it
            no champion changes: a branch only proposes changes.
        push: send outputs and run cache to DVC's remote, if there is one; after a failure, those of finished stages.
        update: first update the data that `dvc import-url` tracks from their source.

    Returns:
        Whether the gate let the change pass.

    Raises:
        InputError: git does not know the base, parameters or results are malformed, or a stage failed;
            comment.md says which.
    """
    for name in ("summary.json", "comment.md"):  # those of an earlier run would contradict a failure
        (OUTPUT / name).unlink(missing_ok=True)
    shutil.rmtree(OUTPUT / "plots", ignore_errors=True)
    try:
        return _retrain(base, list(dict.fromkeys(experiments)), promote, push, update)
    except BaseException as error:
        problem = "It was ended from outside, or crashed."
        if isinstance(error, InputError | OSError):
            problem = explained(error)
        files.write_text(OUTPUT / "comment.md", comment.failure(base, masked(problem)))
        raise


def _retrain(base: str, experiments: list[Path], promote: bool, push: bool, update: bool) -> bool:
    repository = experiments[0]
    commit = revision.common_commit(base, repository)
    before, gone = {}, {}
    for folder in experiments:
        settings, read = params.load(folder), revision.at(commit, folder)
        require_current_stages(folder, folder / settings.experiment.root)
        of_task = [tasks.make(name, settings) for name in settings.task_names]
        before[folder] = [(task, gather(task, read)) for task in of_task]
        gone[folder] = [without_task(name) for name in task_names(read) if name not in settings.task_names]
    remote = pipeline.has_remote(repository)
    with _pushing(repository) if push and remote else contextlib.nullcontext():
        if update:
            pipeline.update_imports(repository)
        retrained = []
        for folder, results in before.items():
            changed = pipeline.score(folder, pull=remote)
            comparisons = []
            for task, old in results:
                new = gather(task, revision.working_tree(folder))
                verdict = judge(task, old, new, folder)
                comparisons.append(Comparison(task=task, base=old, head=new, verdict=verdict))
            found = Retrained(experiment=folder, changed=changed, comparisons=comparisons, gone=gone[folder])
            retrained.append(found)
        passed = all(each.passed for each in retrained)
        if promote and passed:
            retrained = [
                dataclasses.replace(each, changed=[*each.changed, *pipeline.finish(each.experiment, pull=remote)])
                for each in retrained
            ]
    _write(base, commit, retrained, promote and passed)
    return passed


@contextlib.contextmanager
def _pushing(repository: Path) -> Iterator[None]:
    """Push after the block, even if it fails or is interrupted, so that finished stages need not run again."""
    try:
        yield
    except BaseException:
        print("pushing the finished outputs", file=sys.stderr, flush=True)
        try:
            pipeline.push(repository)
        except Exception as error:  # whatever DVC raises: the first failure is the one to report
            print(f"warning: DVC's remote may lack finished outputs: {one_line(masked(str(error)))}", file=sys.stderr)
        raise
    pipeline.push(repository)


def _write(base: str, commit: str, retrained: Sequence[Retrained], promoted: bool) -> None:
    repository = retrained[0].experiment
    details = _difference(repository, "metrics", "diff", "--md", commit)
    _difference(repository, "plots", "diff", commit, "--out", str((OUTPUT / "plots").resolve()))
    text = comment.write(base, commit, retrained, details, promoted)
    files.write_text(OUTPUT / "comment.md", text)
    experiments = [
        {
            "experiment": each.experiment.as_posix(),
            "changed": list(each.changed),
            "verdicts": [dataclasses.asdict(verdict) for verdict in each.verdicts],
        }
        for each in retrained
    ]
    summary = {"base": commit, "promoted": promoted, "experiments": experiments}
    files.write_json(OUTPUT / "summary.json", summary)
    print(text.split("\n<details>")[0])
    plots = OUTPUT / "plots" / "index.html"
    print(f"comment: {OUTPUT / 'comment.md'}" + (f"; plots: {plots}" if plots.exists() else ""))


def _difference(repository: Path, *arguments: str) -> str:
    """Return DVC's comparison with the base; a failure (the base may lack a plot) only warns: the verdict stands."""
    try:
        return dvc.run(*arguments, folder=repository).strip()
    except InputError as error:
        print(f"warning: {error}", file=sys.stderr)
        return ""
