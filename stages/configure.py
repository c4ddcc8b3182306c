"""configure: each row's configuration, resolved: all that its training, evaluation and tables need to know."""

import argparse
import dataclasses

from terracyte import params
from terracyte.configure import rows
from terracyte.core import files, paths
from terracyte.core.errors import guarded


def main() -> None:
    """Write one file per row of a task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", help="a name of params.yaml: tasks")
    task = parser.parse_args().task
    resolved = rows.resolve(params.load(), task)
    with files.atomic_folder(paths.configs(task)) as folder:
        for row in resolved:
            files.write_json(folder / f"{row.variant}.json", dataclasses.asdict(row))


if __name__ == "__main__":
    guarded(main)
