"""Training beyond this project's own environment: on a GPU, and on a machine with little more than Keras."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import pytest

from terracyte.train import checkpoints
from tests import balanced_project
from tests.conftest import ROOT
from tests.train.test_fit import make

# Rounding of gradients must not matter: so not Lion, which takes their sign, and no dropout.
ONE_EPOCH: dict[str, Any] = {"epochs": 1, "optimizer": "adamw", "schedule": "constant", "dropout": 0.0}
# A GPU rounds the factors of products to 11 bits. With 8 bits, in bfloat16, losses change by half a per cent.
TOLERANCE = 0.01

# Modules that no training imports.
NOT_NEEDED = ("dvc", "faiss", "great_expectations", "jinja2", "matplotlib", "mlflow", "optuna", "ray", "tensorflow")


def fit(variant: str, checkpoint: str) -> dict[str, float]:
    """Scores and losses of a short training in the working directory's project, on the backend's first device."""
    fitted = make(variant, Path(checkpoint).absolute(), lambda *_: None, **ONE_EPOCH).run()
    return {**fitted.history[0], **fitted.scores}


@pytest.mark.gpu
@pytest.mark.parametrize("variant", ["blood-cnn", "mars-unet_final"])
def test_a_gpu_trains_the_network_of_the_processor(
    variant: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the active Keras backend; run as `pytest -m gpu tests/train/test_backends.py`."""
    devices = keras.distribution.list_devices()
    assert any("gpu" in device for device in devices), f"Keras' {keras.backend.backend()} sees {devices} only"
    balanced_project.write(project)
    places: list[str] = []
    write = checkpoints.write

    def observed(folder: Path, model: keras.Model, *rest: Any) -> None:
        # where the last step left the weights
        places.extend(str(variable.value.device).lower() for variable in model.trainable_variables)
        write(folder, model, *rest)

    monkeypatch.setattr(checkpoints, "write", observed)
    scores = fit(variant, "gpu")
    assert places
    assert all("cuda" in place or "gpu" in place for place in places)

    script = f"import json; from {__name__} import fit; print(json.dumps(fit('{variant}', 'processor')))"
    alone = {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(sys.path)}
    processor = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **alone}, stdout=subprocess.PIPE, check=True
    )
    expected = json.loads(processor.stdout.splitlines()[-1])
    assert scores == pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE)


def test_training_imports_keras_and_little_else() -> None:
    script = (
        "import sys\n"
        "from terracyte.core import quiet\n"
        "with quiet.importing_keras(): pass\n"  # Keras may import what its backend needs, even TensorFlow
        f"sys.modules.update(dict.fromkeys({NOT_NEEDED}))\n"  # None: importing them fails from here on
        f"import {__name__}, terracyte.train.fit\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    imported = subprocess.run([sys.executable, "-c", script], env=environment, stderr=subprocess.PIPE, text=True)
    assert imported.returncode == 0, imported.stderr
