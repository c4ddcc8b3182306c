"""tune: search better values for a task's reference by validation scores, and confirm them with fresh seeds."""

import argparse
import sys

from terracyte.core.errors import InputError, guarded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", help="name of a task in params.yaml")
    task = parser.parse_args().task
    # Imported here: `--help` needs none of it.
    from terracyte import params, tracking
    from terracyte.core import files, paths
    from terracyte.tune import search

    outcome = search.search(params.load(), task)
    files.write_json(paths.tuning(task), outcome)
    files.write_json(paths.tuned(task), dict(outcome["values"]))
    try:
        tracking.log_study(task, outcome)
    except InputError as error:
        print(f"warning: {error}; the report records the search", file=sys.stderr)


if __name__ == "__main__":
    guarded(main)
