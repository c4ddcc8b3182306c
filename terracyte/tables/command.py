"""terracyte tables: write the ablation tables again from metrics/ alone, without images, models and predictions.

Stage `report` writes the same tables and the page, but needs the files of each row that only DVC stores.
"""

import argparse
import contextlib

from terracyte.core.arguments import OF_TASK, add_experiment, of_task

HELP = "write the ablation tables again from metrics/ alone, in a clone without images"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "tasks", nargs="*", metavar="TASK", help="names of tasks in params.yaml (all of the experiment)"
    )
    add_experiment(parser, OF_TASK)


def run(arguments: argparse.Namespace) -> None:
    """Write the tables of an experiment and say where they are; nothing is written unless all can be made.

    Raises:
        InputError: a row's file in metrics/ is missing or out of date, or a task is unknown.
    """
    # Imported here: `--help` needs none of it.
    from terracyte import params, tasks
    from terracyte.core import files, paths
    from terracyte.report import ablation, records, tables

    alone = arguments.tasks[0] if len(arguments.tasks) == 1 else ""
    folder = of_task(arguments.experiment, alone)
    with contextlib.chdir(folder):
        settings = params.load()
        made = {}
        for name in arguments.tasks or settings.task_names:
            task = tasks.make(name, settings)
            table = ablation.ablation(task, records.gather(task, settings), settings.evaluate)
            made[name] = table, tables.document(task, table, settings.evaluate)
        for name, (table, text) in made.items():
            files.write_csv(paths.ablation_csv(name), table)
            files.write_text(paths.ablation_markdown(name), text)
    for name in made:
        print(folder / paths.ablation_markdown(name))
