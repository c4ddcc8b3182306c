"""How unlike the training images an image is: no model that never saw its like should be trusted with it.

An image is described by 13 numbers that need no label: the manifest's statistics (the logarithm of sharpness), the
eight strongest principal components of its colour histogram, and how much of the histogram they leave over. Its
distance is that of Mahalanobis, as Lee et al. (arXiv 1807.03888) take it in the features of a network.

Colours do what a network's own signals did not: on the real images, the energy of the logits (Liu et al., arXiv
2010.03759) passed both the alien drawn over the terrain and one of the two pictures among the cells as familiar.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from terracyte.core import files
from terracyte.core.errors import InputError
from terracyte.images.similarity.histograms import count_levels, smooth
from terracyte.images.similarity.thumbnails import grey
from terracyte.images.statistics import STATISTICS, statistics
from terracyte.tasks.task import Task

_COMPONENTS = 8
_CHUNK = 64  # images
_QUICK = 16  # images whose float64 copies fit the processor's cache: a third less time for a prediction
_LEAST = 1e-6  # threshold, where all images are equal
_RIDGE = 1e-3  # share of the features' mean variance added to each: none is free of noise

FEATURES = (*STATISTICS, *(f"colour_{n}" for n in range(1, _COMPONENTS + 1)), "colour_rest")
"""Names of the 13 numbers."""

Numbers = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoveltyDetector:
    """What the training images look like, and how far from it is too far.

    Attributes:
        mean_colours: (d,) mean of the square roots of the smoothed colour histograms.
        components: (8, d) their principal components.
        centre, scale: (13,) mean and standard deviation of the features.
        precision: (13, 13) inverse covariance of the standardized features.
        threshold: squared distance above which an image is unfamiliar.
    """

    mean_colours: Numbers
    components: Numbers
    centre: Numbers
    scale: Numbers
    precision: Numbers
    threshold: Numbers

    def features(self, images: NDArray[np.uint8]) -> Numbers:
        """Images (n, h, w, c) → `FEATURES` (n, 13)."""
        parts = (images[start : start + _QUICK] for start in range(0, len(images), _QUICK))
        return np.concatenate(
            [_features(part, np.arange(len(part)), self.mean_colours, self.components) for part in parts]
        )

    def distances(self, images: NDArray[np.uint8]) -> Numbers:
        """Images (n, h, w, c) → squared distances (n,) over the threshold: above 1 is unfamiliar."""
        squared = _squared_distances(self.features(images), self.centre, self.scale, self.precision)
        return np.asarray(squared / self.threshold)


def fit(
    images: NDArray[np.uint8], training: NDArray[np.int64], validation: NDArray[np.int64], share: float
) -> NoveltyDetector:
    """Learn the look of the training images; memory does not grow with their number.

    Args:
        images: (N, h, w, c), may be memory-mapped.
        training: places of the training images.
        validation: places of images that set the threshold.
        share: of the validation images that are flagged, 0-1.
    """
    mean_colours, components = _principal_colours(images, training)
    features = _features(images, training, mean_colours, components)
    centre, scale = features.mean(axis=0), features.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)  # grey images have no saturation
    covariance = np.cov((features - centre) / scale, rowvar=False, bias=True)
    precision: Numbers = np.linalg.inv(covariance + _RIDGE * np.eye(len(FEATURES))).astype(np.float64)
    unseen = _features(images, validation, mean_colours, components)
    distances = _squared_distances(unseen, centre, scale, precision)
    return NoveltyDetector(
        mean_colours=mean_colours,
        components=components,
        centre=centre,
        scale=scale,
        precision=precision,
        threshold=np.asarray(np.maximum(np.quantile(distances, 1 - share), _LEAST)),
    )


def write(task: Task, path: Path, share: float) -> None:
    """Fit the task's training split and write the result as .npz; the same images give the same bytes.

    Args:
        task: whose images.
        path: of the file.
        share: of the validation images that are flagged, 0-1.

    Raises:
        InputError: nothing was balanced yet, or a split is empty.
    """
    # Imported here: measuring images needs no Keras.
    from terracyte.train.batches import read_rows

    training, validation = read_rows(task, "train"), read_rows(task, "validation")
    fitted = fit(training.images, training.ids, validation.ids, share)
    files.write_arrays(path, {name: np.asarray(array) for name, array in vars(fitted).items()})


def read(path: Path, channels: int) -> NoveltyDetector:
    """Read what `write` wrote for images of so many channels.

    Raises:
        InputError: the file is missing or damaged, or is no detector for such images.
    """
    some, colours = len(FEATURES), _colours(np.zeros((1, 1, 1, channels), np.uint8)).shape[1]
    shapes = {"mean_colours": (colours,), "components": (_COMPONENTS, colours), "centre": (some,), "scale": (some,)}
    shapes |= {"precision": (some, some), "threshold": ()}
    found = files.read_arrays(path, list(shapes))
    for name, shape in shapes.items():
        array = found[name]
        if array.shape != shape or array.dtype != np.float64 or not np.isfinite(array).all():
            raise InputError(f"{path}: {name!r} is {array.dtype} {array.shape}, not finite float64 of shape {shape}")
    return NoveltyDetector(**{name: found[name] for name in shapes})


def _chunks(ids: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    return (ids[start : start + _CHUNK] for start in range(0, len(ids), _CHUNK))


def _features(images: NDArray[np.uint8], ids: NDArray[np.int64], mean_colours: Numbers, components: Numbers) -> Numbers:
    """`FEATURES` (n, 13) of the images at the places `ids`."""
    parts = []
    for chunk in _chunks(ids):
        some = images[chunk]
        look = statistics(some, grey(some))
        look["sharpness"] = np.log1p(look["sharpness"])
        deviation = _colours(some) - mean_colours
        inside = deviation @ components.T
        rest = (deviation**2).sum(axis=1) - (inside**2).sum(axis=1)
        # rounding may leave a little less than nothing
        columns = [*(look[name] for name in STATISTICS), *inside.T, np.sqrt(np.maximum(rest, 0))]
        parts.append(np.stack(columns, axis=1))
    return np.concatenate(parts)


def _squared_distances(features: Numbers, centre: Numbers, scale: Numbers, precision: Numbers) -> Numbers:
    """Mahalanobis distances (n,), squared, of features (n, 13)."""
    standardized = (features - centre) / scale
    return np.asarray(np.einsum("ni,ij,nj->n", standardized, precision, standardized))


def _colours(images: NDArray[np.uint8]) -> Numbers:
    """(n, d) whose Euclidean distance is Hellinger's of the smoothed histograms, up to a factor."""
    return np.sqrt(smooth(count_levels(images), images.shape[-1])).astype(np.float64)


def _principal_colours(images: NDArray[np.uint8], ids: NDArray[np.int64]) -> tuple[Numbers, Numbers]:
    """Mean (d,) and principal components (8, d) of the colours, the strongest first."""
    dimensions = _colours(images[ids[:1]]).shape[1]
    total, products = np.zeros(dimensions), np.zeros((dimensions, dimensions))
    for chunk in _chunks(ids):
        colours = _colours(images[chunk])
        total += colours.sum(axis=0)
        products += colours.T @ colours
    mean = total / len(ids)
    scatter = products - len(ids) * np.outer(mean, mean)
    _, vectors = eigh(scatter, subset_by_index=(dimensions - _COMPONENTS, dimensions - 1))
    components = vectors[:, ::-1].T
    # an eigenvector may point either way
    signs = np.sign(components[np.arange(len(components)), np.abs(components).argmax(axis=1)])
    return mean, components * signs[:, None]
