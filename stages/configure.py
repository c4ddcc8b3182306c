"""configure: resolve each row's configuration: all that its training, evaluation and tables need."""

import argparse

from terracyte.core.errors import guarded


def main() -> None:
    """Write the configurations of one task's rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", help="name of a task in params.yaml")
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
