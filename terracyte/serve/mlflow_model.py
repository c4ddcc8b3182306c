"""Packs the champion as a model that MLflow can serve, and runs MLflow's server for it."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terracyte.promote import champion
from terracyte.tracking.models import requirements, signature_of

if TYPE_CHECKING:
    from fastapi import FastAPI

    from terracyte.predict.predictor import Predictor


def pyfunc(folder: Path) -> dict[str, Any]:
    """Return the arguments of `mlflow.pyfunc.save_model` and `log_model` for a champion's folder.

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


def save(folder: Path, path: Path) -> None:
    """Save a champion's folder as a model that `mlflow models serve` accepts.

    Args:
        folder: the champion's folder.
        path: a new folder for the model.

    Raises:
        InputError: the folder holds no champion.
    """
    import mlflow.pyfunc

    with _without_example():
        mlflow.pyfunc.save_model(path, **pyfunc(folder))


def log(folder: Path) -> str:
    """Log the model that `save` writes to the active run.

    Returns:
        The model's id, which `models:/<id>` loads.

    Raises:
        InputError: the folder holds no champion.
    """
    import mlflow.pyfunc

    with _without_example():
        return str(mlflow.pyfunc.log_model(name="model", **pyfunc(folder)).model_id)


def scoring_server(path: Path) -> "tuple[FastAPI, Predictor]":
    """Return MLflow's scoring application for a saved model, as `mlflow models serve` runs it, and its predictor."""
    import mlflow.pyfunc
    from mlflow.pyfunc import scoring_server as mlflow_server

    # the client gets every refusal; MLflow would also log advice on formats that this model does not accept
    logging.getLogger("mlflow.pyfunc.scoring_server").setLevel(logging.ERROR)
    model = mlflow.pyfunc.load_model(str(path))
    return mlflow_server.init(model), model.unwrap_python_model().predictor


@contextmanager
def _without_example() -> Iterator[None]:
    """Silence the warning that no input example is given; MLflow would load and run the model on it for no gain."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*An input example was not provided", UserWarning)
        yield
