"""evaluate: predictions of the test split and their scores, for one row."""

import argparse

from terracyte.core.errors import guarded


def main() -> None:
    """Predict with each seed's model, and with all of them together; score both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variant", help="a name of experiment.yaml: rows")
    name = parser.parse_args().variant
    # Imported here: `--help` needs none of it.
    from terracyte import params, tasks
    from terracyte.core import files, metric_files, paths
    from terracyte.evaluate import confusions, predictions, scores
    from terracyte.params import row

    this = row.read(params.load().row(name).task, name)
    task = tasks.of(this.task, this.spec)
    predictions.trained(this)
    rows = predictions.test_rows(task.name)
    kept, together = predictions.predict(task, rows, name, this.seeds)
    found = scores.summarise(task, this, rows, kept, row.evaluation(task.name), together)
    for seed, arrays in kept.items():
        files.write_arrays(paths.prediction(task.name, name, seed), arrays)
    files.write_arrays(paths.confusions(task.name, name), confusions.compact(task, rows, list(kept.values())))
    metric_files.write(paths.scores(task.name, name), found["mean"], found)


if __name__ == "__main__":
    guarded(main)
