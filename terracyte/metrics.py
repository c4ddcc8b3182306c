"""Scores of classification and segmentation, from confusion matrices wherever one suffices.

A confusion matrix C is (k, k) int64: C[i, j] counts images or pixels of true class i predicted as j. Every
function that takes one also takes a stack (..., k, k) and then returns a stack (...), so that thousands of
bootstrap resamples cost one call.

For class i: TP = C[i, i], FN = the rest of row i, FP = the rest of column i.

A class without any denominator (say, the IoU of a class that is in neither truth nor prediction) scores 0
on its own and is left out of means, as in Keras; a mean over no class is 0. Nothing here returns NaN.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Scores = NDArray[np.float64]

# Resamples held in memory at once.
_CHUNK = 500


def confusion_matrix(truth: NDArray[Any], prediction: NDArray[Any], classes: int) -> Counts:
    """Count each pair of true and predicted class.

    Args:
        truth: integer labels in [0, classes), any shape.
        prediction: the same shape.
        classes: k.

    Returns:
        (k, k), rows: truth, columns: prediction.

    Raises:
        ValueError: the shapes differ, or a label is out of range.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"truth is {truth.shape}, prediction {prediction.shape}; they must match")
    for name, labels in (("truth", truth), ("prediction", prediction)):
        if labels.size and (labels.min() < 0 or labels.max() >= classes):
            span = f"{labels.min()} … {labels.max()}"
            raise ValueError(f"{name} holds {span}; labels must lie in 0 … {classes - 1}")
    pairs = truth.astype(np.int64).ravel() * classes + prediction.astype(np.int64).ravel()
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def grouped_confusions(truth: NDArray[Any], prediction: NDArray[Any], group: NDArray[np.int64], classes: int) -> Counts:
    """One confusion matrix per group of images.

    Args:
        truth: (n,) or (n, h, w) labels.
        prediction: the same shape.
        group: (n,) any integers; images of equal value share a matrix.
        classes: k.

    Returns:
        (g, k, k) in ascending order of the group's value; their sum is the confusion matrix of all images.
    """
    names, index = np.unique(group, return_inverse=True)
    total = np.zeros((len(names), classes, classes), np.int64)
    # Image by image: the memory needed stays that of one image, however many there are.
    for row, place in enumerate(index):
        total[place] += confusion_matrix(np.asarray(truth[row]), np.asarray(prediction[row]), classes)
    return total


def accuracy(confusion: Counts) -> Scores:
    """Share on the diagonal: Σ TP / Σ C. Of pixels, this is pixel accuracy."""
    return _ratio(_hits(confusion).sum(axis=-1), confusion.sum(axis=(-2, -1)))


def recall(confusion: Counts) -> Scores:
    """(..., k): TP / (TP + FN)."""
    return _ratio(_hits(confusion), confusion.sum(axis=-1))


def precision(confusion: Counts) -> Scores:
    """(..., k): TP / (TP + FP)."""
    return _ratio(_hits(confusion), confusion.sum(axis=-2))


def f1(confusion: Counts) -> Scores:
    """(..., k): 2 TP / (2 TP + FP + FN), the harmonic mean of precision and recall."""
    return _ratio(2 * _hits(confusion), confusion.sum(axis=-1) + confusion.sum(axis=-2))


def iou(confusion: Counts) -> Scores:
    """(..., k): intersection over union, TP / (TP + FP + FN)."""
    return _ratio(_hits(confusion), _union(confusion))


def balanced_accuracy(confusion: Counts) -> Scores:
    """Mean recall over the classes that occur in the truth."""
    return _mean_where(recall(confusion), confusion.sum(axis=-1) > 0)


def macro_f1(confusion: Counts) -> Scores:
    """Mean F1 over the classes that occur in truth or prediction."""
    return _mean_where(f1(confusion), _union(confusion) > 0)


def labelled(confusion: Counts, scored_classes: Sequence[int]) -> Counts:
    """The matrix with the rows of unscored true classes emptied: their images or pixels count nowhere.

    Predicting an unscored class where the truth is scored still counts, as a miss.
    """
    kept = np.zeros_like(confusion)
    rows = list(scored_classes)
    kept[..., rows, :] = confusion[..., rows, :]
    return kept


def mean_iou(confusion: Counts, scored_classes: Sequence[int]) -> Scores:
    """Mean IoU over the scored classes, pixels of any other true class left out of everything."""
    scored = labelled(confusion, scored_classes)
    chosen = list(scored_classes)
    return _mean_where(iou(scored)[..., chosen], _union(scored)[..., chosen] > 0)


def course_mean_iou(confusion: Counts, background: int) -> Scores:
    """What the course computed: `keras.metrics.MeanIoU(num_classes=k, ignore_class=background)`.

    Pixels of true background are left out, but the mean runs over all classes: a single labelled pixel
    predicted as background adds background to it, with an IoU of 0.
    """
    others = [k for k in range(confusion.shape[-1]) if k != background]
    scored = labelled(confusion, others)
    return _mean_where(iou(scored), _union(scored) > 0)


def expected_calibration_error(
    probabilities: NDArray[np.floating[Any]], truth: NDArray[np.int64], bins: int = 15
) -> float:
    """Σ over bins of (share of images in it) · |accuracy − mean confidence| (arXiv 1706.04599).

    The confidence of an image is its largest probability; bins split (0, 1] evenly.

    Args:
        probabilities: (n, k), each row summing to 1.
        truth: (n,) labels.
        bins: number of bins.

    Returns:
        0 (calibrated, or no image at all) to 1.
    """
    if len(truth) == 0:
        return 0.0
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == truth
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    surplus = np.bincount(place, weights=right - confidence, minlength=bins)
    return float(np.abs(surplus).sum() / len(truth))


def bootstrap(confusions: Counts, score: Callable[[Counts], Scores], resamples: int, seed: int) -> Scores:
    """Resample a score over training seeds and over groups of test images.

    Neighbouring frames and near duplicates aren't independent, so groups, not images, are drawn with
    replacement; training seeds are drawn likewise, and each resample's score is the mean over the drawn
    seeds. Equal `seed`, number of seeds and number of groups give equal draws: the difference of two calls is
    a paired comparison.

    Args:
        confusions: (seeds, groups, k, k), see `grouped_confusions`.
        score: maps (..., k, k) to (...).
        resamples: how many.
        seed: of the resampling.

    Returns:
        (resamples,) scores.
    """
    seeds, groups, classes, _ = confusions.shape
    random = np.random.default_rng(seed)
    flat = confusions.transpose(1, 0, 2, 3).reshape(groups, -1)
    drawn = []
    for start in range(0, resamples, _CHUNK):
        size = min(_CHUNK, resamples - start)
        counts = random.multinomial(groups, np.full(groups, 1 / groups), size)
        weights = random.multinomial(seeds, np.full(seeds, 1 / seeds), size) / seeds
        totals = (counts @ flat).reshape(size, seeds, classes, classes)
        drawn.append((score(totals) * weights).sum(axis=1))
    return np.concatenate(drawn)


def interval(resampled: Scores, confidence: float) -> tuple[float, float]:
    """The percentile interval that holds the share `confidence` of the resampled scores."""
    low, high = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _hits(confusion: Counts) -> Counts:
    return np.diagonal(confusion, axis1=-2, axis2=-1)


def _union(confusion: Counts) -> Counts:
    union: Counts = confusion.sum(axis=-1) + confusion.sum(axis=-2) - _hits(confusion)
    return union


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> Scores:
    """part / whole, 0 where whole is 0."""
    ratio: Scores = np.divide(part, whole, out=np.zeros(np.shape(part)), where=np.asarray(whole) > 0)
    return ratio


def _mean_where(values: Scores, present: NDArray[np.bool_]) -> Scores:
    """Mean over the last axis of the values that are present, 0 where none is."""
    return _ratio((values * present).sum(axis=-1), present.sum(axis=-1))
