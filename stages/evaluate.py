"""evaluate: predictions of the test split and their scores, for one variant."""

import argparse

from terracyte import params, tasks
from terracyte.core import files, metric_files, paths
from terracyte.core.errors import guarded
from terracyte.evaluate import predictions
from terracyte.evaluate import scores as evaluation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variant", help="a name of params.yaml: variants")
    name = parser.parse_args().variant
    settings = params.load()
    task = tasks.make(settings.variant(name).task, settings)
    records = predictions.trained(task.name, name, settings.seeds)
    rows = predictions.test_rows(task.name)
    kept = {seed: predictions.predict(task, rows, name, [seed]) for seed in settings.seeds}
    together = predictions.predict(task, rows, name, settings.seeds) if len(kept) > 1 else None
    scores = evaluation.summarise(task, name, rows, kept, records, settings.evaluate, together)
    for seed, arrays in kept.items():
        files.write_arrays(paths.prediction(task.name, name, seed), arrays)
    metric_files.write(paths.scores(task.name, name), scores["mean"], scores)


if __name__ == "__main__":
    guarded(main)
