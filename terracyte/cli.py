"""The command `terracyte`: one sub-command per entry of `COMMANDS`."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from types import ModuleType

from terracyte.core.errors import guarded

COMMANDS = {
    "drift": "terracyte.drift.command",
    "predict": "terracyte.predict.command",
    "serve": "terracyte.serve.command",
}
"""Sub-command → module with `HELP`, `configure(parser)` and `run(arguments)`; light to import."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a sub-command; on bad input print one line and exit with 2."""
    parser = argparse.ArgumentParser(prog="terracyte", description="Images in, classes or masks out.")
    chosen = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, path in COMMANDS.items():
        module = importlib.import_module(path)
        _add(chosen, name, module)
    parsed = parser.parse_args(arguments)
    try:
        guarded(lambda: parsed.run(parsed))
    except KeyboardInterrupt:
        sys.exit(130)


def _add(chosen: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, module: ModuleType) -> None:
    command = chosen.add_parser(name, help=module.HELP, description=module.__doc__)
    module.configure(command)
    command.set_defaults(run=module.run)


if __name__ == "__main__":
    main()
