"""A Keras model as MLflow keeps it."""

import contextlib
import importlib.metadata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from mlflow.models import ModelSignature


def log_keras(model: Any) -> str:
    """Log a Keras model of one input and one output to the active run, with their shapes as its signature.

    Returns:
        Its id, which `models:/<id>` loads.
    """
    import mlflow.keras

    signature = signature_of(model.input_shape, model.output_shape)
    logged = mlflow.keras.log_model(model, name="model", signature=signature, pip_requirements=requirements())
    return str(logged.model_id)


def signature_of(*shapes: Sequence[int | None]) -> "ModelSignature":
    """Signature of float32 arrays: the input's shape, and the output's where it is one, None being any size."""
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    sizes = [tuple(-1 if size is None else size for size in shape) for shape in shapes]
    given: Any = [Schema([TensorSpec(np.dtype("float32"), size)]) for size in sizes]
    return ModelSignature(*given)


def requirements() -> list[str]:
    """What a server of the model installs; without it MLflow would load the model to find out, for 10 s."""
    installed = []
    for name in ("keras", "numpy", "tensorflow", "tensorflow-cpu", "jax"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            installed.append(f"{name}=={importlib.metadata.version(name)}")
    return installed
