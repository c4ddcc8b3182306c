"""clean: decide which images stay, and say why the others go."""

import argparse

from terracyte.core.errors import guarded


def main() -> None:
    """Judge the images of one task; no output is written unless the kept ones pass validation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", help="name of a task in params.yaml")
    name = parser.parse_args().task
    # Imported here: `--help` needs none of it.
    from terracyte import compute, params, tasks
    from terracyte.clean import decide
    from terracyte.clean.rules import Raw
    from terracyte.core import files, paths
    from terracyte.measure import settings as measured
    from terracyte.validate import expectations

    settings = params.load()
    task = tasks.make(name, settings)
    masks = files.map_array(paths.masks(name)) if task.dense else None
    raw, manifest = Raw(task, files.map_array(paths.images(name)), masks), files.read_table(paths.raw_manifest(name))
    expected, _ = measured.expected(task, settings.validate[name], manifest)
    with compute.using(settings.compute):
        rules, record = measured.cleaning(settings.clean[name], raw.images, manifest)
        table = decide.decide(raw, manifest, rules)
    decide.require_classes(task, table)
    planted = files.read_table(paths.planted(name)) if paths.planted(name).exists() else None
    summary = decide.summarise(table, planted)
    validation = expectations.validate_cleaned(task, table, decide.REASONS, expected)
    files.write_table(paths.clean_manifest(name), table)
    files.write_json(paths.cleaning(name), summary | record)
    files.write_json(paths.validation_cleaned(name), validation)
    print(decide.describe(summary))


if __name__ == "__main__":
    guarded(main)
