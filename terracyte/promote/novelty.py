"""How much an image differs from the training images: a model should not be trusted with unfamiliar images.

An image is described by 13 numbers that need no label: the manifest's statistics (the logarithm of sharpness), the
eight strongest principal components of its colour histogram, and the size of the remainder that these components do
not explain. Novelty is the Mahalanobis distance, which Lee et al. (arXiv 1807.03888) use on a network's features.

Colours detect what a network's own outputs did not: on the real images, the energy of the logits (Liu et al., arXiv
2010.03759) rated both the alien drawn over the terrain and one of the two pictures among the cells as familiar.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from terracyte.core import files
from terracyte.core.errors import UnusableFileError
from terracyte.images.similarity.histograms import count_levels, smooth
from terracyte.images.similarity.thumbnails import grey
from terracyte.images.statistics import STATISTICS, statistics
from terracyte.tasks.task import Task

_COMPONENTS = 8
_CHUNK = 64  # images
_QUICK = 16  # images whose float64 copies fit the processor's cache: a third less time for a prediction
_LEAST = 1e-6  # smallest threshold, for when all images are equal
_RIDGE = 1e-3  # share of the features' mean variance that is added to each variance: no feature is free of noise

FEATURES = (*STATISTICS, *(f"colour_{n}" for n in range(1, _COMPONENTS + 1)), "colour_rest")
"""Names of the 13 features of an image."""

Numbers = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoveltyDetector:
    """Statistics of the training images, and the distance from them above which an image is unfamiliar.

    Attributes:
        mean_colours: (d,) mean of the square roots of the smoothed colour histograms.
        components: (8, d) principal components of these square roots.
        centre, scale: (13,) mean and standard deviation of the features.
        precision: (13, 13) inverse of the regularized covariance of the standardized features.
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
    """Fit a detector; of each image, only its 13 features are kept in memory.

    Args:
        images: (N, h, w, c), may be memory-mapped.
        training: indices of the training images.
        validation: indices of the images that set the threshold.
        share: share of the validation images that are flagged, 0-1.
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
    """Fit a detector to the task's training split and write it as .npz; the same images give the same bytes.

    Args:
        task: the task whose images are used.
        path: the file to write.
        share: share of the validation images that are flagged, 0-1.

    Raises:
        InputError: nothing was balanced yet, or a split is empty.
    """
    # Imported here: measuring images needs no Keras.
    from terracyte.train.batches import read_rows

    training, validation = read_rows(task, "train"), read_rows(task, "validation")
    fitted = fit(training.images, training.ids, validation.ids, share)
    files.write_arrays(path, {name: np.asarray(array) for name, array in vars(fitted).items()})


def read(path: Path, channels: int) -> NoveltyDetector:
    """Read a detector that `write` wrote for images with this number of channels.

    Raises:
        InputError: the file is missing or damaged, or its arrays do not fit images with this number of channels.
    """
    some, colours = len(FEATURES), _colours(np.zeros((1, 1, 1, channels), np.uint8)).shape[1]
    shapes = {"mean_colours": (colours,), "components": (_COMPONENTS, colours), "centre": (some,), "scale": (some,)}
    shapes |= {"precision": (some, some), "threshold": ()}
    found = files.read_arrays(path, list(shapes))
    for name, shape in shapes.items():
        array = found[name]
        if array.shape != shape or array.dtype != np.float64 or not np.isfinite(array).all():
            raise UnusableFileError(
                f"{path}: {name!r} is {array.dtype} {array.shape}, but must be finite float64 of shape {shape}"
            )
    return NoveltyDetector(**{name: found[name] for name in shapes})


def _chunks(ids: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    return (ids[start : start + _CHUNK] for start in range(0, len(ids), _CHUNK))


def _features(images: NDArray[np.uint8], ids: NDArray[np.int64], mean_colours: Numbers, components: Numbers) -> Numbers:
    """Return `FEATURES` (n, 13) of the images at the indices `ids`."""
    parts = []
    for chunk in _chunks(ids):
        some = images[chunk]
        look = statistics(some, grey(some))
        look["sharpness"] = np.log1p(look["sharpness"])
        deviation = _colours(some) - mean_colours
        inside = deviation @ components.T
        rest = (deviation**2).sum(axis=1) - (inside**2).sum(axis=1)
        # rounding errors may make the remainder slightly negative
        columns = [*(look[name] for name in STATISTICS), *inside.T, np.sqrt(np.maximum(rest, 0))]
        parts.append(np.stack(columns, axis=1))
    return np.concatenate(parts)


def _squared_distances(features: Numbers, centre: Numbers, scale: Numbers, precision: Numbers) -> Numbers:
    """Features (n, 13) → squared Mahalanobis distances (n,)."""
    standardized = (features - centre) / scale
    return np.asarray(np.einsum("ni,ij,nj->n", standardized, precision, standardized))


def _colours(images: NDArray[np.uint8]) -> Numbers:
    """Return square roots (n, d) of the smoothed histograms: Euclidean distances are Hellinger's up to a factor."""
    return np.sqrt(smooth(count_levels(images), images.shape[-1])).astype(np.float64)


def _principal_colours(images: NDArray[np.uint8], ids: NDArray[np.int64]) -> tuple[Numbers, Numbers]:
    """Return the mean (d,) of `_colours` and their principal components (8, d), the strongest first."""
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
    # an eigenvector's sign is arbitrary: its entry of largest magnitude is made positive
    signs = np.sign(components[np.arange(len(components)), np.abs(components).argmax(axis=1)])
    return mean, components * signs[:, None]
