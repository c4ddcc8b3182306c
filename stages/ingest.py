"""ingest: convert any source into the raw form in data/<task>/raw."""

import argparse

from terracyte.core.errors import guarded


def main() -> None:
    """Replace the task's raw form; on any error the previous one stays."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", help="name of a task in params.yaml")
    name = parser.parse_args().task
    # Imported here: `--help` needs none of it.
    from terracyte import compute, params, tasks
    from terracyte.core import files, paths
    from terracyte.ingest import raw, sources

    settings = params.load()
    task, source = tasks.make(name, settings), settings.experiment.sources[name]
    with files.atomic_folder(paths.raw(name)) as folder, compute.using(settings.compute):
        raw.write(task, sources.read(task, source), folder, origin=source.path)
        raw.write_unlabelled(task, sources.unlabelled(task, source), folder)


if __name__ == "__main__":
    guarded(main)
