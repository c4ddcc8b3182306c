"""report: reconcile MLflow, then the ablation tables and the page."""

import argparse

from terracyte import params, tasks
from terracyte.core import files, paths
from terracyte.core.errors import guarded
from terracyte.report import ablation, champions, page, records, runs, search_text, tables


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    settings = params.load()
    chosen = [tasks.make(name, settings) for name in params.TASKS]
    gathered = {task.name: records.gather(task, settings) for task in chosen}
    ablations = {task.name: ablation.ablation(task, gathered[task.name], settings.evaluate) for task in chosen}
    searches = {task.name: files.read_json(paths.tuning(task.name)) for task in chosen}
    note = tables.note(settings.evaluate)
    notes = {name: [note, search_text.note(name, outcome)] for name, outcome in searches.items()}
    markdown = {task.name: tables.markdown(task, ablations[task.name], notes[task.name]) for task in chosen}
    sections = [page.section(task, gathered[task.name], ablations[task.name], settings) for task in chosen]
    html = page.render(sections, settings)
    for task in chosen:
        runs.reconcile(task, gathered[task.name])
        champions.register(task)
    for name, table in ablations.items():
        files.write_csv(paths.ablation_csv(name), table)
        files.write_text(paths.ablation_markdown(name), markdown[name])
    files.write_text(paths.REPORT_PAGE, html)
    for task in chosen:
        runs.log_report(task)


if __name__ == "__main__":
    guarded(main)
