"""balance: make grouped, stratified splits, and class, sampling and rare-class weights."""

import argparse

from terracyte.core.errors import guarded


def main() -> None:
    """Split and weigh the kept images of one task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", help="name of a task in params.yaml")
    name = parser.parse_args().task
    # Imported here: `--help` needs none of it.
    from terracyte import params, tasks
    from terracyte.balance import balancing
    from terracyte.core import files, paths
    from terracyte.measure import settings as measured

    settings = params.load()
    task = tasks.make(name, settings)
    images = files.map_array(paths.images(name))
    cleaned = files.read_table(paths.clean_manifest(name))
    asked, record = measured.splitting(settings.balance[name], images, cleaned)
    balanced = balancing.balance(task, images, cleaned, asked)
    summary = balancing.summarise(task, cleaned, balanced, asked)
    files.write_table(paths.balance_manifest(name), balanced)
    files.write_json(paths.balance(name), summary | record)
    print(balancing.describe(summary))


if __name__ == "__main__":
    guarded(main)
