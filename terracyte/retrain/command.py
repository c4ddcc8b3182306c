"""Retrains what a change makes out of date, and compares the results with the base branch.

python -m terracyte.retrain.command --base origin/main

The same on a laptop and in CI: fetch what is cached, `dvc repro` up to the scores, gate, push. Exit code 1: the gate
stopped the change; 2: bad input, or a stage failed. What there is to read lies in `data/retraining/`: comment.md,
summary.json, and the plots.
"""

import argparse
import dataclasses
import sys
from collections.abc import Callable

from terracyte import params, tasks
from terracyte.core import files, paths
from terracyte.core.errors import InputError, guarded
from terracyte.retrain import comment, pipeline, revision
from terracyte.retrain.comment import Comparison
from terracyte.retrain.gate import judge
from terracyte.retrain.results import Results, gather
from terracyte.tasks.task import Task

OUTPUT = paths.DATA / "retraining"


def main() -> None:
    """Retrain, compare, and leave by the gate's exit code."""
    arguments = _arguments()
    try:
        passed = retrain(arguments.base, arguments.promote, arguments.push, arguments.update)
    except InputError as error:
        files.write_text(OUTPUT / "comment.md", comment.failure(arguments.base, str(error)))
        raise
    if not passed:
        sys.exit(1)


def retrain(base: str, promote: bool = False, push: bool = True, update: bool = False) -> bool:
    """Bring every stage up to date and hold the results against those of the base.

    Args:
        base: a revision that git knows; results are compared with the commit where HEAD's history left it.
        promote: go on with `promote` and what follows it, once the gate has let the change pass. Without it no
            champion changes: a branch only proposes.
        push: send outputs and run cache to DVC's remote, where there is one.
        update: first bring data that `dvc import-url` tracks up to its source.

    Returns:
        Whether the gate let the change pass.

    Raises:
        InputError: git does not know the base, params or results are malformed, or a stage failed.
    """
    commit = revision.common_commit(base)
    made = [tasks.make(name, params.load()) for name in params.load().task_names]
    before = {task.name: gather(task, revision.at(commit)) for task in made}
    remote = pipeline.has_remote()
    if update:
        pipeline.update_imports()
    run = pipeline.score(pull=remote)
    comparisons = [_compared(task, before[task.name]) for task in made]
    passed = all(each.verdict.passed for each in comparisons)
    if promote and passed:
        run += pipeline.finish(pull=remote)
    if push and remote:
        pipeline.push()
    _write(base, commit, run, comparisons, promote and passed)
    return passed


def _compared(task: Task, base: Results) -> Comparison:
    head = gather(task, revision.working_tree)
    return Comparison(task=task, base=base, head=head, verdict=judge(task, base, head))


def _write(base: str, commit: str, run: pipeline.Run, comparisons: list[Comparison], promoted: bool) -> None:
    details = _attempted(lambda: pipeline.metrics_difference(commit))
    _attempted(lambda: pipeline.plots_difference(commit, str(OUTPUT / "plots")))
    text = comment.write(base, commit, run, comparisons, details, promoted)
    files.write_text(OUTPUT / "comment.md", text)
    verdicts = [dataclasses.asdict(each.verdict) for each in comparisons]
    summary = {"base": commit, "ran": run.ran, "cached": run.cached, "verdicts": verdicts, "promoted": promoted}
    files.write_json(OUTPUT / "summary.json", summary)
    print(text.split("\n<details>")[0])
    print(f"comment: {OUTPUT / 'comment.md'}; plots: {OUTPUT / 'plots' / 'index.html'}")


def _attempted(difference: Callable[[], str]) -> str:
    """What DVC tells of both sides; the verdict does not wait for it, say where the base is older than a plot."""
    try:
        return difference()
    except InputError as error:
        print(f"warning: {error}", file=sys.stderr)
        return ""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True, help="what to compare with, such as origin/main")
    parser.add_argument("--promote", action="store_true", help="let the champion change; for the main branch")
    parser.add_argument("--no-push", dest="push", action="store_false", help="send nothing to DVC's remote")
    parser.add_argument("--update", action="store_true", help="first update the data that `dvc import-url` tracks")
    return parser.parse_args()


if __name__ == "__main__":
    guarded(main)
