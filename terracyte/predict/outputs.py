"""Writes the output of `terracyte predict`: a table, and for tasks with masks a mask and an overlay per image."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terracyte.core import files
from terracyte.core.errors import InputError
from terracyte.predict.predictor import Predictions, Predictor
from terracyte.rendering.pictures import colour_of, indexed, overlaid

TABLE, OVERLAYS, MASKS = "predictions.csv", "overlays", "masks"
_CLASSES = "classes.csv"  # what the values in masks stand for


class Writer:
    """Writes predictions batch by batch.

    Args:
        predictor: the predictor that makes the predictions.
        stream: an open CSV file.
        folder: the folder for masks, overlays and the classes' colours; None to write none.
    """

    def __init__(self, predictor: Predictor, stream: TextIO, folder: Path | None) -> None:
        self._predictor, self._folder = predictor, folder
        if folder is not None:
            rows = [(label, name, colour_of(label)) for label, name in enumerate(predictor.task.classes)]
            files.write_csv(folder / _CLASSES, pd.DataFrame(rows, columns=["value", "class", "colour"]))
        self._table = csv.writer(stream, lineterminator="\n")
        self._table.writerow(columns(predictor))

    def write(self, names: list[str], images: NDArray[np.uint8], predictions: Predictions) -> None:
        """Append the predictions of a batch of images."""
        self._table.writerows(_rows(self._predictor, names, predictions))
        if self._folder is not None:
            pictures, masks = (predictions.within_pictures(each) for each in (images, predictions.labels))
            for name, image, labels in zip(names, pictures, masks, strict=True):
                drawn = {OVERLAYS: overlaid(image, labels), MASKS: indexed(labels.astype(np.uint8))}
                for part, picture in drawn.items():
                    path = self._folder / part / f"{name}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    picture.save(path)


@contextmanager
def opened(predictor: Predictor, path: Path) -> Iterator[Writer]:
    """Yield a writer; its output appears when the block ends without an error, and not at all otherwise.

    Args:
        predictor: the predictor that makes the predictions.
        path: a .csv file, which is replaced, or else a folder, which must be new or empty; `predictions.csv` and, for
            tasks with masks, `masks/<image>.png` with the classes' numbers, `classes.csv`, which says what these mean,
            and `overlays/<image>.png` are written into it.

    Raises:
        InputError: the folder is not empty, is a file or the current folder, or the .csv is a folder.
    """
    as_table = path.suffix.lower() == ".csv"
    if path.is_dir() if as_table else path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path} exists already: name a new folder, or a .csv file")
    if not as_table and path.resolve() == Path.cwd():  # replacing it would leave the shell in a deleted folder
        raise InputError(f"--output is {path}, the folder you are in: name another one, or a .csv file")
    with files.atomic(path) if as_table else files.atomic_folder(path, new=True) as temporary:
        pictured = temporary if predictor.task.dense and not as_table else None
        table = temporary if as_table else temporary / TABLE
        with table.open("w", encoding="utf-8", newline="") as stream:
            yield Writer(predictor, stream, pictured)


def columns(predictor: Predictor) -> list[str]:
    """Return the table's columns, with one per class for its probability or, for tasks with masks, share of pixels."""
    first = ["image"] if predictor.task.dense else ["image", "class"]
    return [*first, "confidence", "unfamiliar", *predictor.classes]


def shares(predictor: Predictor, predictions: Predictions) -> NDArray[np.float64]:
    """Return (b, s): each scored class's probability, or for tasks with masks its share of the picture's pixels."""
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
