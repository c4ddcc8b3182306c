"""train: one row, once per seed, on the training split; early stopping on the validation split."""

import argparse

from terracyte.core.errors import guarded


def main() -> None:
    """Train a row of the experiment."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variant", help="a name of experiment.yaml: rows")
    name = parser.parse_args().variant
    # Imported here: `--help` needs none of it.
    from terracyte import params
    from terracyte.core import quiet
    from terracyte.params import row

    settings = params.load()
    variant = settings.row(name)
    resolved = row.read(variant.task, name)
    # Keras takes seconds to import: after all that can be wrong with the arguments
    with quiet.importing_keras():
        from terracyte.train.variant import train_row

    train_row(resolved, variant.title, settings.compute)


if __name__ == "__main__":
    guarded(main)
