"""train: one variant, once per seed, on the training split; early stopping on the validation split."""

import argparse

from terracyte import params
from terracyte.core import quiet
from terracyte.core.errors import guarded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variant", help="a name of params.yaml: variants")
    name = parser.parse_args().variant
    settings = params.load()
    settings.variant(name)
    # Keras takes seconds to import: after all that can be wrong with the arguments
    with quiet.importing_keras():
        from terracyte.train.variant import train_variant

    train_variant(settings, name)


if __name__ == "__main__":
    guarded(main)
