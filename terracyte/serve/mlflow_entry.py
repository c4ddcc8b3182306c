"""The champion as MLflow's servers run it: MLflow copies this file beside the champion's folder and executes it.

The model is saved as code, so that nothing is unpickled; the package `terracyte` must be installed where it runs.
"""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from terracyte.predict import predictor
from terracyte.serve import answers


class Champion(PythonModel):
    """Images (b, h, w, c) float32, 0-255 → one answer per image, see `serve.answers`."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the champion's folder."""
        self.predictor = predictor.read(Path(context.artifacts["champion"]))

    def predict(
        self,
        context: PythonModelContext,
        model_input: np.ndarray,  # MLflow recognizes arrays by this type hint only
        params: dict[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """Predict a batch.

        Raises:
            MlflowException: (status 400) the batch is empty or too large, or its pixels do not lie in 0-255.
        """
        problem = answers.problem(model_input)
        if problem:
            raise mlflow.MlflowException.invalid_parameter_value(problem)
        return answers.answers(self.predictor, np.rint(model_input).astype(np.uint8))


mlflow.models.set_model(Champion())
