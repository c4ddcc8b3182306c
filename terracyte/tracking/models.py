"""Keras models in MLflow: logging, signatures and requirements."""

import contextlib
import importlib.metadata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from mlflow.models import ModelSignature


def log_keras(model: Any) -> str:
    """Log a Keras model with one input and one output to the active run, with their shapes as its signature.

    Returns:
        The model's id, for loading it as `models:/<id>`.
    """
    import mlflow.keras

    signature = signature_of(model.input_shape, model.output_shape)
    logged = mlflow.keras.log_model(model, name="model", signature=signature, pip_requirements=requirements())
    return str(logged.model_id)


def signature_of(*shapes: Sequence[int | None]) -> "ModelSignature":
    """Return the signature of float32 arrays with the input's and, if given, the output's shape; None is any size."""
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    sizes = [tuple(-1 if size is None else size for size in shape) for shape in shapes]
    given: Any = [Schema([TensorSpec(np.dtype("float32"), size)]) for size in sizes]
    return ModelSignature(*given)


def requirements() -> list[str]:
    """Return what a server of the model must install; MLflow would take 10 s to find out by loading the model."""
    installed = []
    for name in ("keras", "numpy", "tensorflow", "tensorflow-cpu", "jax"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            installed.append(f"{name}=={importlib.metadata.version(name)}")
    return installed
