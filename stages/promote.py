"""promote: the best variant by validation becomes champion, if it beats the present one and passes its tests."""

import argparse

from terracyte.core.errors import guarded


def main() -> None:
    """Decide about one task's champion."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", help="name of a task in params.yaml")
    name = parser.parse_args().task
    # Imported here: `--help` needs none of it.
    from terracyte import params, tasks
    from terracyte.core import quiet

    settings = params.load()
    task = tasks.make(name, settings)
    # Keras takes seconds to import: check the arguments first
    with quiet.importing_keras():
        from terracyte.promote import decision

    print(decision.describe(decision.promote(task, settings)))


if __name__ == "__main__":
    guarded(main)
