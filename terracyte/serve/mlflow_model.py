"""Packs the champion as a model that MLflow's own server (`mlflow models serve`) runs."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from terracyte.promote import champion
from terracyte.tracking.models import requirements, signature_of


def pyfunc(folder: Path) -> dict[str, Any]:
    """Return the arguments of `mlflow.pyfunc.log_model` for a champion's folder.

    Raises:
        InputError: the folder holds no champion.
    """
    record = champion.read_record(folder)
    return {
        "python_model": str(Path(__file__).with_name("mlflow_entry.py")),
        "artifacts": {"champion": str(folder)},
        "signature": signature_of((None, record["height"], record["width"], record["channels"])),
        "pip_requirements": requirements(),
    }


def log(folder: Path) -> str:
    """Log a champion's folder, as a model that `mlflow models serve` accepts, to the active run.

    Returns:
        The model's id, which `models:/<id>` loads.

    Raises:
        InputError: the folder holds no champion.
    """
    import mlflow.pyfunc

    with _without_example():
        return str(mlflow.pyfunc.log_model(name="model", **pyfunc(folder)).model_id)


@contextmanager
def _without_example() -> Iterator[None]:
    """Silence the warning that no input example is given; MLflow would load and run the model on it for no gain."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*An input example was not provided", UserWarning)
        yield
