"""validate: check the raw data; a broken requirement stops the pipeline, an oddity is recorded and left to `clean`."""

import argparse

from terracyte.core.errors import guarded


def main() -> None:
    """Judge the raw form of one task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", help="name of a task in params.yaml")
    name = parser.parse_args().task
    # Imported here: `--help` needs none of it.
    from terracyte import params, tasks
    from terracyte.core import files, paths
    from terracyte.measure import settings as measured
    from terracyte.validate import expectations

    settings = params.load()
    manifest = files.read_table(paths.raw_manifest(name))
    task = tasks.make(name, settings)
    expected, record = measured.expected(task, settings.validate[name], manifest)
    summary = expectations.validate_raw(task, manifest, expected)
    files.write_json(paths.validation(name), summary | record)
    print(expectations.describe(summary))
    print(f"Data Docs: {expectations.page(name, 'raw')}")


if __name__ == "__main__":
    guarded(main)
