"""Scores of classification and segmentation, from confusion matrices wherever one suffices.

A confusion matrix C is (k, k) int64: C[i, j] counts images or pixels of true class i predicted as j. Every
function that takes one also takes a stack (..., k, k) and then returns a stack (...), so that thousands of
bootstrap resamples cost one call.

For class i: TP = C[i, i], FN = the rest of row i, FP = the rest of column i.

A class without any denominator (say, the IoU of a class that is in neither truth nor prediction) scores 0
on its own and is left out of means, as in Keras; a mean over no class is 0. Nothing here returns NaN.
"""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Scores = NDArray[np.float64]

# Width of the strip along a contour, as a share of the image's diagonal.
_STRIP = 0.02
# Images whose strips are held in memory at once.
_IMAGES = 64
# Labels that are counted at once: as whole numbers of eight bytes, they take more memory than all masks.
_PIXELS = 2**22


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
    rows, columns, total = truth.ravel(), prediction.ravel(), np.zeros(classes**2, np.int64)
    for start in range(0, rows.size, _PIXELS):
        part = slice(start, start + _PIXELS)
        pairs = rows[part].astype(np.int64) * classes + columns[part].astype(np.int64)
        total += np.bincount(pairs, minlength=classes**2)
    return total.reshape(classes, classes)


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


def course_mean_iou(confusion: Counts, background: int | None) -> Scores:
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


def boundary_iou(truth: NDArray[Any], prediction: NDArray[Any], scored_classes: Sequence[int]) -> float:
    """Mean over the scored classes of the boundary IoU (arXiv 2103.16562): IoU of the strips along contours.

    The strip of a class holds its pixels within d pixels (of the larger axis) of a pixel of another class; d is
    2 % of the image's diagonal, as in the paper, so 3 for 64x128. A class's strips are intersected and united
    over all images. Pixels of any other true class count nowhere and, like the image's edge, make no contour:
    no prediction could get such a contour wrong. Classes without a strip in truth and prediction are left out.

    Args:
        truth: (n, h, w) integer labels from 0 on.
        prediction: the same shape.
        scored_classes: their labels.
    """
    chosen = list(scored_classes)
    distance = max(1, round(_STRIP * float(np.hypot(*truth.shape[1:]))))
    hits = np.zeros(max(chosen) + 1, np.int64)
    union = np.zeros_like(hits)
    for start in range(0, len(truth), _IMAGES):
        true, predicted = (labels[start : start + _IMAGES].astype(np.int16) for labels in (truth, prediction))
        scored = np.isin(true, chosen)
        in_true, in_predicted = (_strip(labels, scored, distance) for labels in (true, predicted))
        both = in_true & in_predicted & (true == predicted)
        for k in chosen:
            common = np.count_nonzero(both & (true == k))
            hits[k] += common
            union[k] += np.count_nonzero(in_true & (true == k)) + np.count_nonzero(in_predicted & (predicted == k))
            union[k] -= common
    return float(_mean_where(_ratio(hits, union)[chosen], union[chosen] > 0))


def _strip(labels: NDArray[np.int16], scored: NDArray[np.bool_], distance: int) -> NDArray[np.bool_]:
    """(n, h, w): whether a scored pixel has a scored one of another label within `distance`."""
    span = np.iinfo(np.int16)
    highest = _extreme(np.where(scored, labels, span.min), distance, np.maximum)
    lowest = _extreme(np.where(scored, labels, span.max), distance, np.minimum)
    strip: NDArray[np.bool_] = scored & ((highest != labels) | (lowest != labels))
    return strip


def _extreme(labels: NDArray[np.int16], distance: int, extreme: np.ufunc) -> NDArray[np.int16]:
    """The highest or lowest label of the square of 2 · distance + 1 pixels around each pixel, cut at the edge."""
    _, height, width = labels.shape
    edge = (distance, distance)
    # one axis after the other: 2 (2d + 1) comparisons instead of (2d + 1)²
    rows = np.pad(labels, ((0, 0), edge, (0, 0)), mode="edge")
    labels = functools.reduce(extreme, (rows[:, i : i + height] for i in range(2 * distance + 1)))
    columns = np.pad(labels, ((0, 0), (0, 0), edge), mode="edge")
    return functools.reduce(extreme, (columns[:, :, i : i + width] for i in range(2 * distance + 1)))


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
