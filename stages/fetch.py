"""fetch: the pretrained weights that a variant starts from, placed by hand or downloaded, and checked."""

import argparse

from terracyte import params
from terracyte.core.errors import guarded
from terracyte.fetch import pretrained


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variant", help="a name of params.yaml: variants")
    pretrained.fetch(params.load(), parser.parse_args().variant)


if __name__ == "__main__":
    guarded(main)
