"""clean: decide which images stay, and say why the others go."""

import argparse

import numpy as np
import pandas as pd

from terracyte import compute, expectations, files, params, paths, tasks
from terracyte.data import cleaning
from terracyte.data.rules import Raw
from terracyte.errors import guarded


def main() -> None:
    """Judge the images of one task; nothing is written unless the kept ones pass validation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=params.TASKS)
    name = parser.parse_args().task
    settings = params.load()
    task = tasks.make(name, settings)
    masks = np.load(paths.masks(name), mmap_mode="r") if task.dense else None
    raw = Raw(task, np.load(paths.images(name), mmap_mode="r"), masks)
    with compute.using(settings.compute):
        table = cleaning.decide(raw, pd.read_parquet(paths.raw_manifest(name)), settings.clean[name])
    planted = pd.read_parquet(paths.planted(name)) if paths.planted(name).exists() else None
    summary = cleaning.summarise(table, planted)
    validation = expectations.validate_cleaned(task, table, cleaning.REASONS, settings.validate[name])
    files.write_table(paths.clean_manifest(name), table)
    files.write_json(paths.cleaning(name), summary)
    files.write_json(paths.validation_cleaned(name), validation)
    print(cleaning.describe(summary))


if __name__ == "__main__":
    guarded(main)
