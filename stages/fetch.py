"""fetch: the pretrained weights that rows start from, placed by hand or downloaded, and checked."""

import argparse

from terracyte.core.errors import guarded


def main() -> None:
    """Fetch each backbone once, for all rows."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    # Imported here: `--help` needs none of it.
    from terracyte import params
    from terracyte.fetch import pretrained

    pretrained.fetch(params.load())


if __name__ == "__main__":
    guarded(main)
