"""The champion behind MLflow's model server."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

    from terracyte.predict.predictor import Predictor


def scoring_server(path: Path) -> "tuple[FastAPI, Predictor]":
    """MLflow's scoring server of a saved model, the application behind `mlflow models serve`; and its predictor."""
    import mlflow.pyfunc
    from mlflow.pyfunc import scoring_server as mlflow_server

    # each refusal is answered; MLflow would also log advice on formats that this model does not take
    logging.getLogger("mlflow.pyfunc.scoring_server").setLevel(logging.ERROR)
    model = mlflow.pyfunc.load_model(str(path))
    return mlflow_server.init(model), model.unwrap_python_model().predictor
