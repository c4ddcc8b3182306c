"""configure: each row's configuration, resolved: all that its training, evaluation and tables need to know."""

import argparse

from terracyte.core.errors import guarded


def main() -> None:
    """Write the files of a task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", help="a name of params.yaml: tasks")
    task = parser.parse_args().task
    # Imported here: `--help` needs none of it.
    from terracyte import params
    from terracyte.configure import rows
    from terracyte.core import files, paths

    settings = params.load()
    with files.atomic_folder(paths.configs(task)) as folder:
        rows.write(settings, task, folder)


if __name__ == "__main__":
    guarded(main)
