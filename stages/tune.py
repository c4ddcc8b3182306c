"""tune: better values of a task's reference, searched by validation and confirmed with fresh seeds."""

import argparse

from terracyte import files, params, paths, search, tracking, tuned
from terracyte.errors import guarded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=params.TASKS)
    task = parser.parse_args().task
    outcome = search.search(params.load(), task)
    tracking.log_study(task, outcome)
    files.write_json(paths.tuning(task), outcome)
    tuned.write(task, outcome["values"])


if __name__ == "__main__":
    guarded(main)
