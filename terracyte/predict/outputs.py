"""What `terracyte predict` writes: a table, and for tasks with masks an overlay per image."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from terracyte.core import files
from terracyte.core.errors import InputError
from terracyte.predict.predictor import Predictions, Predictor
from terracyte.rendering.pictures import overlaid

TABLE, OVERLAYS = "predictions.csv", "overlays"


class Writer:
    """Writes predictions as they come.

    Args:
        predictor: whose.
        stream: an open CSV file.
        overlays: folder of the overlays; None for none.
    """

    def __init__(self, predictor: Predictor, stream: TextIO, overlays: Path | None) -> None:
        self._predictor, self._overlays = predictor, overlays
        self._table = csv.writer(stream, lineterminator="\n")
        self._table.writerow(columns(predictor))

    def write(self, names: list[str], images: NDArray[np.uint8], predictions: Predictions) -> None:
        """Append images and what is predicted of them."""
        self._table.writerows(_rows(self._predictor, names, predictions))
        if self._overlays is not None:
            pictures, masks = (predictions.within_pictures(each) for each in (images, predictions.labels))
            for name, image, labels in zip(names, pictures, masks, strict=True):
                path = self._overlays / f"{name}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                overlaid(image, labels).save(path)


@contextmanager
def opened(predictor: Predictor, path: Path) -> Iterator[Writer]:
    """Yield a writer; what it wrote is there when the block ends without an error, and nothing otherwise.

    Args:
        predictor: whose predictions.
        path: a .csv, which is replaced, or else a folder, which must be new or empty: it gets `predictions.csv` and
            for tasks with masks `overlays/<image>.png`.

    Raises:
        InputError: the folder holds something already, or is a file.
    """
    as_table = path.suffix.lower() == ".csv"
    if path.is_dir() if as_table else path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path} exists already: name a new folder, or a .csv file")
    if not as_table and path.resolve() == Path.cwd():  # it is replaced, and a shell would stand in no folder
        raise InputError(f"--output is {path}, the folder you are in: name another one, or a .csv file")
    with files.atomic(path) if as_table else files.atomic_folder(path, new=True) as temporary:
        overlays = temporary / OVERLAYS if predictor.task.dense and not as_table else None
        table = temporary if as_table else temporary / TABLE
        with table.open("w", encoding="utf-8", newline="") as stream:
            yield Writer(predictor, stream, overlays)


def columns(predictor: Predictor) -> list[str]:
    """The table's columns: classes have their probability, or for tasks with masks their share of the pixels."""
    first = ["image"] if predictor.task.dense else ["image", "class"]
    return [*first, "confidence", "unfamiliar", *predictor.classes]


def shares(predictor: Predictor, predictions: Predictions) -> NDArray[np.float64]:
    """(b, s): of each scored class its probability, or for tasks with masks its share of the picture's pixels."""
    if not predictor.task.dense:
        return predictions.probabilities.astype(np.float64)
    scored = np.array(predictor.task.scored_classes)
    masks = predictions.within_pictures(predictions.labels)
    return np.stack([(mask[..., None] == scored).mean(axis=(0, 1)) for mask in masks])


def _rows(predictor: Predictor, names: list[str], predictions: Predictions) -> Iterator[list[str]]:
    values, confidence = shares(predictor, predictions), predictions.confidence
    for row, name in enumerate(names):
        label = [] if predictor.task.dense else [predictor.task.classes[predictions.labels[row]]]
        unfamiliar = "true" if predictions.unfamiliar[row] else "false"
        yield [name, *label, f"{confidence[row]:.4f}", unfamiliar, *(f"{value:.4f}" for value in values[row])]
