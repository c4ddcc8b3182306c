"""submit: write the files that the challenge asks for, made with the task's best model by validation."""

import argparse

from terracyte.core.errors import guarded


def main() -> None:
    """Replace the submission of one task; on any error the previous one stays."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", help="name of a task in params.yaml")
    parser.add_argument("--variant", help="submit this variant; the others need not be trained")
    arguments = parser.parse_args()
    # Imported here: `--help` needs none of it.
    from terracyte import params, tasks
    from terracyte.core import files, paths, quiet

    settings = params.load()
    task = tasks.make(arguments.task, settings)
    # Keras takes seconds to import: check the arguments first
    with quiet.importing_keras():
        from terracyte.submit import submission

    with files.atomic_folder(paths.submission(task.name)) as folder:
        summary = submission.write(task, settings, folder, arguments.variant)
    print(submission.describe(task, summary))


if __name__ == "__main__":
    guarded(main)
