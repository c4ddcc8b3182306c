"""The one model of a variant: its only seed's file as it is, or all seeds' models averaged."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from terracyte.core import quiet


@contextmanager
def model_file(models: Sequence[Path]) -> Iterator[Path]:
    """The file of one model whose logits are the mean of those of `models`, for as long as it is needed.

    Args:
        models: files of the seeds' models; the same ones give the same bytes.

    Raises:
        InputError: there are several, and one is missing or no Keras model.
    """
    if len(models) == 1:
        yield models[0]
        return
    # Imported here: a single model is passed on as it is.
    with quiet.importing_keras():
        from terracyte.models import ensemble, inference
        from terracyte.models.serialization import read_model, write_model

    inference.make_repeatable(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ensemble.keras"
        write_model(path, ensemble.averaged([read_model(model) for model in models]))
        yield path
