"""Small copies of images, freed from brightness and contrast: the form in which pictures are compared."""

import itertools

import numpy as np
from numpy.typing import NDArray

_EDGE = 48  # pixels: geometric mean of height and width; details below are noise of cameras and compression
_MEAN_WINDOW = 9  # thumbnail pixels
_DEVIATION_WINDOW = 17
_NOISE = 1.0  # grey levels; keeps the noise of flat regions from being blown up to full contrast
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def grey(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(n, h, w, c) uint8, c being 1 or 3 → (n, h, w) luma, 0-255."""
    if images.shape[-1] == 1:
        return images[..., 0].astype(np.float64)
    red, green, blue = (images[..., i] * weight for i, weight in enumerate(_LUMA))
    return np.asarray(red + green + blue)


def thumbnails(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shrink grey images and normalise their local mean and contrast, so that lighting drops out.

    Args:
        values: (n, h, w) grey values, 0-255.

    Returns:
        (n, h', w') with h' · w' about 48²: (local value - local mean) / (local standard deviation + 1).
    """
    # Imported here: `validate` needs the names of the statistics only, and SciPy takes a third of a second.
    from scipy.ndimage import uniform_filter

    _, height, width = values.shape
    block = max(1, round((height * width) ** 0.5 / _EDGE))
    rows, columns = height // block, width // block
    # Sums of slices: a mean over two short axes is eight times slower.
    offsets = itertools.product(range(block), repeat=2)
    small = sum(values[:, i : rows * block : block, j : columns * block : block] for i, j in offsets) / block**2
    detail = small - uniform_filter(small, (0, _MEAN_WINDOW, _MEAN_WINDOW))
    power = uniform_filter(detail**2, (0, _DEVIATION_WINDOW, _DEVIATION_WINDOW))
    # The running sums of the filter may end a rounding error below zero.
    return np.asarray(detail / (np.sqrt(np.maximum(power, 0)) + _NOISE))
