"""Temperature scaling, which calibrates a model's confidences (Guo et al., arXiv 1706.04599).

A network's logits z are divided by one number T before the softmax: p = softmax(z / T). T > 1 makes probabilities less
confident, T < 1 more; the most probable class stays the same. T maximizes the likelihood of the validation split.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from terracyte.core import files, forms, paths, quiet
from terracyte.core.errors import InputError, UnusableFileError
from terracyte.metrics import confusion
from terracyte.tasks.task import Task

_BATCH = 64  # images per step; no result depends on it
_PIXELS = 512  # pixels drawn at random from each image of a dense task: neighbouring pixels add little information
_HOTTEST = 20.0  # largest temperature; the smallest is its inverse. Without errors, the optimum would be 0
_DECIMALS = 6

Values = NDArray[np.floating[Any]]


def probabilities(task: Task, logits: Values, temperature: float) -> NDArray[np.float32]:
    """(..., k) logits of all classes → (..., s) calibrated probabilities of the scored ones, each row summing to 1."""
    scored = logits[..., list(task.scored_classes)].astype(np.float32)
    return np.asarray(softmax(scored / np.float32(temperature), axis=-1))


def fit(logits: Values, truth: NDArray[np.int64]) -> float:
    """Return the temperature that makes the truth most probable.

    The negative log likelihood is convex in 1 / T, so a bounded search finds its only minimum.

    Args:
        logits: (n, k).
        truth: (n,) indices of the true classes, 0 to k - 1.

    Returns:
        The temperature, 1/20 to 20; near 1/20 where no image or pixel is classified wrongly.
    """

    def loss(coldness: float) -> float:
        return _negative_log_likelihood(logits, truth, 1 / coldness)

    found = minimize_scalar(loss, bounds=(1 / _HOTTEST, _HOTTEST), method="bounded", options={"xatol": 1e-6})
    return round(float(1 / found.x), _DECIMALS)


def measure(logits: Values, truth: NDArray[np.int64]) -> dict[str, Any]:
    """Fit the temperature, and measure its effect on the same images or pixels.

    Args:
        logits: (n, k).
        truth: (n,) indices of the true classes, 0 to k - 1.

    Returns:
        `temperature`; `expected_calibration_error` and `negative_log_likelihood`, each `before` and `after`; `scored`,
        which is n.
    """
    temperature = fit(logits, truth)
    both = {"before": 1.0, "after": temperature}
    return {
        "temperature": temperature,
        "expected_calibration_error": {name: _calibration_error(logits, truth, t) for name, t in both.items()},
        "negative_log_likelihood": {
            name: round(_negative_log_likelihood(logits, truth, t), _DECIMALS) for name, t in both.items()
        },
        "scored": len(truth),
    }


def write(task: Task, model: Path, path: Path, folds: Sequence[int] = ()) -> None:
    """Calibrate a saved model on the validation split and write what `measure` returns.

    Args:
        task: the model's task.
        model: the model's file.
        path: the file to write.
        folds: for a model that averages networks trained with folds, the folds that they held out, in their order: each
            network then predicts only images that it never saw. If anything, it is less accurate than their average.

    Raises:
        InputError: the model cannot be read, nothing was balanced yet, or the validation split is empty
            or has no image or pixel of a scored class.
    """
    parts = list(_observations(task, model, folds))
    if not any(len(truth) for _, truth in parts):
        raise InputError(
            f"{paths.raw(task.name)}: no validation image that {model} has not seen shows a scored class: add some"
        )
    logits, truth = (np.concatenate(each) for each in zip(*parts, strict=True))
    files.write_json(path, {"split": "validation", **measure(logits, truth)})


def read(path: Path) -> float:
    """Read the temperature from a file that `write` wrote.

    Raises:
        InputError: the file is missing or damaged, or its temperature is not positive and finite.
    """
    temperature = float(files.read_json(path, {"temperature": forms.NUMBER})["temperature"])
    if not 0 < temperature < math.inf:
        raise UnusableFileError(f"{path} has the temperature {temperature:g}, which must be positive and finite")
    return temperature


def _observations(
    task: Task, model: Path, folds: Sequence[int]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Yield logits (n, s) of the scored classes and indices (n,) of the true ones, per batch of validation images."""
    # Imported here: calibrated probabilities need no Keras.
    with quiet.importing_keras():
        from terracyte.models import ensemble, inference
        from terracyte.models.serialization import read_model
        from terracyte.train.batches import read_rows

    inference.make_repeatable(0)
    rows, network = read_rows(task, "validation"), read_model(model)
    members = zip(ensemble.members(network), folds, strict=True) if folds else [(network, None)]
    draw = np.random.default_rng(0)
    for member, fold in members:
        unseen = np.ones(len(rows), np.bool_) if fold is None else (rows.manifest["fold"] == fold).to_numpy()
        targets, start = rows.targets[unseen], 0
        for logits in inference.predict(member, rows.images, rows.ids[unseen], _BATCH):
            truth = targets[start : start + len(logits)]
            start += len(logits)
            if task.dense:
                logits, truth = _drawn(logits, truth, draw)
            known = np.isin(truth, task.scored_classes)
            places = np.searchsorted(task.scored_classes, truth[known])
            yield logits[known][:, list(task.scored_classes)], places.astype(np.int64)


def _drawn(logits: Values, masks: NDArray[Any], draw: np.random.Generator) -> tuple[Values, NDArray[Any]]:
    """Draw p pixels of each image: (b, h, w, k) and (b, h, w) → (b · p, k) and (b · p,)."""
    flat, truth = logits.reshape(len(logits), -1, logits.shape[-1]), masks.reshape(len(masks), -1)
    chosen = draw.integers(0, truth.shape[1], (len(masks), min(_PIXELS, truth.shape[1])))
    picked = np.take_along_axis(flat, chosen[..., None], axis=1)
    return picked.reshape(-1, flat.shape[-1]), np.take_along_axis(truth, chosen, axis=1).ravel()


def _negative_log_likelihood(logits: Values, truth: NDArray[np.int64], temperature: float) -> float:
    """Return the mean over the rows, in nats."""
    scores = log_softmax(logits.astype(np.float64) / temperature, axis=-1)
    return -float(scores[np.arange(len(truth)), truth].mean())


def _calibration_error(logits: Values, truth: NDArray[np.int64], temperature: float) -> float:
    error = confusion.expected_calibration_error(softmax(logits.astype(np.float64) / temperature, axis=-1), truth)
    return round(error, _DECIMALS)
