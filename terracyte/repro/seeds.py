"""Seeds side by side, for cores that rows leave idle.

Stage `train` trains the seeds of a row one after another, each from its checkpoint where there is one. Here they are
trained up to their last checkpoint, several at a time; the stage then finds the work done, and takes it from there.
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

Job = tuple[Identity, str]  # a training, and what its variant shows, in a few words


def train(job: Job, _: Ask) -> None:
    """Train up to the last checkpoint, in the record's one run of this training, which the stage ends."""
    with quiet.importing_keras():
        from terracyte.train import variant
    identity, title = job
    # a training that fails fails in the stage, too, which says why
    with suppress(InputError), tracking.training_run(identity, title, required=False, status="RUNNING") as run:
        variant._fit(variant.Job(identity=identity, title=title), run.log_epoch)


def main() -> None:
    """Train the seeds of rows, where these have more than one in all, as `terracyte repro` asks: WORKERS ROW …"""
    asked, *rows = sys.argv[1:]
    settings = params.load()
    where = settings.compute
    workers = int(asked) if where.workers == "auto" else min(where.workers, int(asked))
    # a cluster trains seeds side by side by itself; one training on all devices leaves none to another
    if where.engine != "local" or where.data_parallel or workers == 1:
        return
    jobs = list(_jobs(settings, rows))
    if len(jobs) > 1:
        for _ in compute.run(train, jobs, dataclasses.replace(where, workers=workers), compute.Inputs()):
            pass


def _jobs(settings: params.Params, names: Sequence[str]) -> Iterator[Job]:
    """All trainings of rows that were never finished: others come back from DVC's cache."""
    for name in names:
        variant = settings.row(name)
        resolved = row.read(variant.task, name)
        if not tracking.has_finished(resolved):
            yield from ((identity, variant.title) for identity in resolved.identities)


if __name__ == "__main__":
    guarded(main)
