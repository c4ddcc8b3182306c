"""What `tune` found, as later stages read it."""

from collections.abc import Mapping

from terracyte.core import files, paths
from terracyte.core.errors import InputError
from terracyte.params.search_space import Values

# Whose values a search chose.
REFERENCE, WINNER = "reference", "winner"


def write(task: str, values: Values) -> None:
    """Keep the values that replace the reference's; none where the reference stays."""
    files.write_json(paths.tuned(task), dict(values))


def read(task: str) -> Mapping[str, object]:
    """What `write` has written.

    Raises:
        InputError: the stage has not run yet.
    """
    path = paths.tuned(task)
    if not path.exists():
        raise InputError(f"{path} is missing: run `dvc repro tune@{task}`")
    values: dict[str, object] = files.read_json(path)
    return values
