"""report: reconcile MLflow, build the ablation table and the page of one task."""

import argparse

from terracyte.core.errors import guarded


def main() -> None:
    """Report one task; nothing is written unless all parts can be made."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", help="name of a task in params.yaml")
    name = parser.parse_args().task
    # Imported here: `--help` needs none of it.
    from terracyte import params, tasks
    from terracyte.core import files, paths
    from terracyte.report import ablation, champions, page, records, runs, tables

    settings = params.load()
    task = tasks.make(name, settings)
    gathered = records.gather(task, settings)
    table = ablation.ablation(task, gathered, settings.evaluate)
    markdown = tables.document(task, table, settings.evaluate)
    html = page.render(task, gathered, table, settings)
    runs.reconcile(task, gathered)
    champions.register(task)
    files.write_csv(paths.ablation_csv(name), table)
    files.write_text(paths.ablation_markdown(name), markdown)
    files.write_text(paths.report(name), html)
    runs.log_report(task)


if __name__ == "__main__":
    guarded(main)
