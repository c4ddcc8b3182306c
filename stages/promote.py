"""promote: the best variant by validation becomes champion, if it beats the present one and behaves."""

import argparse

from terracyte import files, params, paths, promotion, tasks
from terracyte.errors import guarded


def main() -> None:
    """Decide about one task's champion."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=params.TASKS)
    name = parser.parse_args().task
    settings = params.load()
    outcome = promotion.promote(tasks.make(name, settings), settings)
    files.write_json(paths.promotion(name), outcome)
    print(promotion.describe(outcome))


if __name__ == "__main__":
    guarded(main)
