"""Train seeds side by side, on cores that would be idle with one training per row.

Stage `train` trains the seeds of a row one after another, each from its checkpoint if there is one. Here seeds are
trained up to their last checkpoint, several at a time; the stage then continues from these checkpoints.
"""

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress

from terracyte import compute, params, tracking
from terracyte.compute import Ask
from terracyte.core import quiet
from terracyte.core.errors import InputError, guarded
from terracyte.params import row
from terracyte.params.row import Identity

Job = tuple[Identity, str]  # a training, and its variant's title


def train(job: Job, _: Ask) -> None:
    """Train up to the last checkpoint; stage `train` continues and ends the training's run in MLflow."""
    with quiet.importing_keras():
        from terracyte.train import variant
    identity, title = job
    # a training that fails here fails in the stage, too, which reports the reason
    with suppress(InputError), tracking.training_run(identity, title, required=False, status="RUNNING") as run:
        variant._fit(variant.Job(identity=identity, title=title), run.log_epoch)


def main() -> None:
    """Train the seeds of rows, if more than one in all, as `terracyte repro` asks; arguments: WORKERS ROW …"""
    asked, *rows = sys.argv[1:]
    settings = params.load()
    where = settings.compute
    workers = int(asked) if where.workers == "auto" else min(where.workers, int(asked))
    # on a cluster the stage itself trains seeds side by side; a data-parallel training occupies all devices
    if where.engine != "local" or where.data_parallel or workers == 1:
        return
    jobs = list(_jobs(settings, rows))
    if len(jobs) > 1:
        for _ in compute.run(train, jobs, dataclasses.replace(where, workers=workers), compute.Inputs()):
            pass


def _jobs(settings: params.Params, names: Sequence[str]) -> Iterator[Job]:
    """Yield all trainings of the rows that were never finished: DVC restores the others from its cache."""
    for name in names:
        variant = settings.row(name)
        resolved = row.read(variant.task, name)
        if not tracking.has_finished(resolved):
            yield from ((identity, variant.title) for identity in resolved.identities)


if __name__ == "__main__":
    guarded(main)
