"""The command `terracyte`: one sub-command per entry of `COMMANDS`."""

import argparse
import importlib
from collections.abc import Sequence

from terracyte.core.errors import guarded

COMMANDS = {
    "new": "terracyte.new.command",
    "predict": "terracyte.predict.command",
    "serve": "terracyte.serve.command",
    "drift": "terracyte.drift.command",
    "repro": "terracyte.repro.command",
    "retrain": "terracyte.retrain.command",
    "ui": "terracyte.report.command",
    "tables": "terracyte.tables.command",
    "check": "terracyte.params.check",
}
"""Sub-command → module with `HELP`, `configure(parser)` and `run(arguments)`; light to import."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a sub-command; on bad input print one line and exit with 2, on Ctrl-C with 130."""
    guarded(lambda: _run(arguments))


def _run(arguments: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(
        prog="terracyte",
        description="Image challenges as one pipeline: commands to run before, after and alongside `dvc repro`.",
    )
    chosen = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, path in COMMANDS.items():
        module = importlib.import_module(path)
        command = chosen.add_parser(
            name,
            help=module.HELP,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.configure(command)
        command.set_defaults(run=module.run)
    parsed = parser.parse_args(arguments)
    parsed.run(parsed)


if __name__ == "__main__":
    main()
