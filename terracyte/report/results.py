"""Rows trained on real data: kept in docs/results from run to run, shown in the README.

python -m terracyte.report.results --hardware "2 cores of an AMD EPYC" [VARIANT...]

follows `make real` in the same working tree. With `--search TASK` the task's search is kept instead, in
docs/results/tuning_<task>.json. Without `--hardware` nothing is added, and only the README's block is written again.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from terracyte import params, tasks, tracking
from terracyte.configure.identity import data_hash
from terracyte.core import files, git, paths
from terracyte.core.errors import InputError, guarded
from terracyte.evaluate import predictions
from terracyte.params import Params
from terracyte.report import ablation, counts, records, tables
from terracyte.report.records import Record
from terracyte.tasks.task import Task

Row = dict[str, Any]

_CLOCKS = ("training_seconds", "images_per_second")
_OF_TABLE = ("variant", "seeds", "initialisation", "best_epoch", "epochs", "data_hash", "fingerprint", "title")
_TEXTS = (*_OF_TABLE, "commit", "hardware", "compared_with")


def add(settings: Params, names: Sequence[str], hardware: str) -> list[str]:
    """Put the rows of finished variants into docs/results; the other rows of declared variants stay.

    Their confusion matrices are kept beside them (`counts`), so that rows trained at different times or
    places can be compared.

    Args:
        settings: the present parameters.
        names: variants, each of which must be fit for it; none for those of all declared ones that are.
        hardware: what they were trained on, in a few words.

    Returns:
        Why declared variants were left out; empty if `names` were given.

    Raises:
        InputError: the code differs from its commit, or a named variant's scores are missing, stale, or of drawn
            images; nothing was written.
    """
    stamp = {"commit": git.of_code(), "hardware": hardware}
    finished, left_out = _finished(settings, names)
    new = {name: (_row(task, record, stamp), record.confusions) for name, (task, record) in finished.items()}
    for row, confusions in new.values():
        counts.write(row, confusions)
    for task in (tasks.make(name, settings) for name in params.TASKS):
        before = read(task.name)
        rows = {**before, **{name: row for name, (row, _) in new.items()}}
        declared = [rows[name] for name in settings.variants_of(task.name) if name in rows]
        if declared:
            files.write_csv(paths.results_csv(task.name), pd.DataFrame(_compared(task, declared, before, settings)))
        counts.prune(task.name, [row["variant"] for row in declared])
    return left_out


def _finished(settings: Params, names: Sequence[str]) -> tuple[dict[str, tuple[Task, Record]], list[str]]:
    """What was measured of the named variants, or of all that are fit for it, and why the others are left out."""
    chosen = {name: tasks.make(settings.variant(name).task, settings) for name in names or settings.variants}
    changed = _changed([f"{stage}@{name}" for name in chosen for stage in ("train", "evaluate")])
    finished, left_out = {}, []
    for name, task in chosen.items():
        try:
            finished[name] = task, _record(task, name, settings, changed)
        except InputError as error:
            if names:
                raise
            left_out.append(f"{name}: {error}")
    return finished, left_out


def read(task: str) -> dict[str, Row]:
    """The task's rows by variant, in the order of the file; none without a file."""
    path = paths.results_csv(task)
    if not path.exists():
        return {}
    types = dict.fromkeys(_TEXTS, str)
    # pandas would take a hash for a number now and then.
    table = pd.read_csv(path, dtype=types).fillna(dict.fromkeys(types, ""))
    return {row["variant"]: {str(name): value for name, value in row.items()} for row in table.to_dict("records")}


def with_rows(settings: Params) -> str:
    """The README's text with its block `real` made from docs/results.

    Raises:
        InputError: the README lacks the block.
    """
    made = [tasks.make(name, settings) for name in params.TASKS]
    begin, end = "<!-- real:begin -->", "<!-- real:end -->"
    text = paths.README.read_text(encoding="utf-8") if paths.README.exists() else ""
    if [text.count(begin), text.count(end)] != [1, 1] or text.index(begin) > text.index(end):
        raise InputError(f"{paths.README}: the lines {begin} and {end} must stand in it once, in this order; add them")
    before, after = text[: text.index(begin)], text[text.index(end) + len(end) :]
    content = "\n".join(f"### {task.name.capitalize()}\n\n{_markdown(task, settings)}" for task in made)
    return f"{before}{begin}\n{content}{end}{after}"


def _markdown(task: Task, settings: Params) -> str:
    """The rows, with the command that trains them again."""
    rows = read(task.name)
    if not rows:
        return "No row yet.\n"
    name, last = list(rows.items())[-1]
    seeds = last["seeds"].split()
    changes = "" if seeds == ["0"] else f' CHANGES="-S seeds=[{",".join(seeds)}]"'
    again = (
        'A row is trained again, at its commit, by `make real DATA=DIR TARGETS="evaluate@VARIANT"` with its variant, '
        'and `CHANGES="-S seeds=[0,1,2]"` with its seeds where they are others than 0: '
        f'the last one by `make real DATA=DIR TARGETS="evaluate@{name}"{changes}`.'
    )
    return tables.markdown(task, pd.DataFrame(list(rows.values())), [tables.note(settings.evaluate), again])


def add_search(settings: Params, task: str, hardware: str) -> None:
    """Keep the outcome of a search on real images, with commit, data and hardware.

    Args:
        settings: the present parameters.
        task: whose search.
        hardware: what it ran on, in a few words.

    Raises:
        InputError: the code differs from its commit, or the search is missing, stale, or one of drawn images; nothing
            was written.
    """
    stamp = {"commit": git.of_code(), "hardware": hardware}
    _refuse_drawn(task, settings)
    stage = f"tune@{task}"
    changed = _changed([stage])
    if changed:
        raise InputError(f"{stage} is out of date: run `make real` again ({json.dumps(changed)})")
    outcome = files.read_json(paths.tuning(task))
    if not outcome["trials"]:
        raise InputError(f"{paths.tuning(task)} holds no trial: set tune.{task}.trials and run `make real` again")
    files.write_json(paths.RESULTS / f"tuning_{task}.json", {**outcome, **stamp, "data_hash": data_hash(task)})


def _changed(stages: Sequence[str]) -> Mapping[str, Any]:
    """What DVC finds changed since each stage ran, by stage: parameters, data, code."""
    command = [sys.executable, "-m", "dvc", "status", "--json", *stages]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise InputError(f"`dvc status` failed: {result.stderr.strip().splitlines()[-1]}")
    changed: dict[str, Any] = json.loads(result.stdout)
    return changed


def _refuse_drawn(task: str, settings: Params) -> None:
    source = settings.data[task].source
    if source == "sample":
        raise InputError(f"params.yaml: 'data.{task}.source' is {source!r}, which is drawn: run `make real` first")


def _record(task: Task, name: str, settings: Params, changed: Mapping[str, Any]) -> Record:
    """What was measured, if it may enter docs/results."""
    _refuse_drawn(task.name, settings)
    record = records.record(task, name, settings, predictions.test_rows(task.name))
    for stage in (f"train@{name}", f"evaluate@{name}"):
        if stage in changed:
            raise InputError(f"{stage} is out of date: run `make real` again ({json.dumps(changed[stage])})")
    return record


def _row(task: Task, record: Record, stamp: Row) -> Row:
    """The row of the ablation table with clocks and stamp, not compared with any other yet."""
    row = ablation.row(task, record)
    fingerprints = [identity.fingerprint for identity in record.identities]
    clocks = _mean(tracking.measured(task.name, fingerprints))
    last = {name: row.pop(name) for name in ("published", "data_hash", "fingerprint", "title")}
    return {**row, **clocks, **last, **stamp}


def _mean(measured: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of the clocks over the seeds; NaN where a seed's record lacks one."""
    return {name: round(float(np.mean([run.get(name, np.nan) for run in measured])), 1) for name in _CLOCKS}


def _compared(task: Task, rows: list[Row], before: Mapping[str, Row], settings: Params) -> list[Row]:
    """The rows with their differences, made anew where one is missing, and where either of its rows changed.

    A difference is empty in the first row, and where the other row or confusion matrices are not at hand.
    """
    present = {row["variant"]: row for row in rows}
    compared, above = [], ""
    for row in rows:
        # declared rows may still be missing: the row above is the one that stands there
        name, above = settings.variants[row["variant"]].compared_with or above, row["variant"]
        other = present.get(name)
        known = before.get(row["variant"], {})
        stands = known.get("compared_with") == name and all(
            _run(task, present, each) == _run(task, before, each) for each in (row["variant"], name)
        )
        if stands and np.isfinite(known["difference"]):
            gained = {column: known[column] for column in ablation.DIFFERENCE}
        else:
            gained = _difference(task, row, other, settings)
        compared.append({**row, "compared_with": name, **gained})
    return compared


def _run(task: Task, rows: Mapping[str, Row], name: str) -> tuple[object, object] | None:
    """Which run a row shows, and how it scored."""
    return (rows[name]["fingerprint"], rows[name][task.headline]) if name in rows else None


def _difference(task: Task, row: Row, other: Row | None, settings: Params) -> Row:
    """NaN where there is no other row, or the confusion matrices of either were not kept."""
    ours, theirs = counts.read(row), None if other is None else counts.read(other)
    if other is None or ours is None or theirs is None or row["data_hash"] != other["data_hash"]:
        return dict.fromkeys(ablation.DIFFERENCE, np.nan)
    gained = row[task.headline] - other[task.headline]
    return ablation.difference(task, gained, ours, theirs, settings.evaluate)


def main() -> None:
    """Add rows, then write the README's block again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hardware", help="what the variants were trained on, in a few words")
    parser.add_argument("variants", nargs="*", metavar="VARIANT", help="default: all that are finished")
    parser.add_argument("--search", choices=params.TASKS, metavar="TASK", help="keep this task's search, and no row")
    arguments = parser.parse_args()
    settings = params.load()
    if (arguments.variants or arguments.search) and not arguments.hardware:
        raise InputError("--hardware is missing: say what the variants were trained on")
    if arguments.search:
        add_search(settings, arguments.search, arguments.hardware)
        return
    with_rows(settings)  # a README without the block is refused before anything is written
    for reason in add(settings, arguments.variants, arguments.hardware) if arguments.hardware else []:
        print(f"left out: {reason}", file=sys.stderr)
    files.write_text(paths.README, with_rows(settings))


if __name__ == "__main__":
    guarded(main)
