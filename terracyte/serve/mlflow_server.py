"""MLflow's model server, running the champion."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

    from terracyte.predict.predictor import Predictor


def scoring_server(path: Path) -> "tuple[FastAPI, Predictor]":
    """Return MLflow's scoring application for a saved model, as `mlflow models serve` runs it, and its predictor."""
    import mlflow.pyfunc
    from mlflow.pyfunc import scoring_server as mlflow_server

    # the client gets every refusal; MLflow would also log advice on formats that this model does not accept
    logging.getLogger("mlflow.pyfunc.scoring_server").setLevel(logging.ERROR)
    model = mlflow.pyfunc.load_model(str(path))
    return mlflow_server.init(model), model.unwrap_python_model().predictor
