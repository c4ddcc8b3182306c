"""validate: what must hold stops the pipeline, what is odd is recorded for clean."""

import argparse

from terracyte import params, tasks
from terracyte.core import files, paths
from terracyte.core.errors import guarded
from terracyte.validate import expectations


def main() -> None:
    """Judge the raw form of one task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", help="a name of params.yaml: tasks")
    name = parser.parse_args().task
    settings = params.load()
    manifest = files.read_table(paths.raw_manifest(name))
    summary = expectations.validate_raw(tasks.make(name, settings), manifest, settings.validate[name])
    files.write_json(paths.validation(name), summary)
    print(expectations.describe(summary))
    print(f"Data Docs: {expectations.page(name, 'raw')}")


if __name__ == "__main__":
    guarded(main)
