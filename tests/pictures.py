"""Small synthetic pictures for tests of cleaning and splitting; nothing here knows the sample's generator."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Images = NDArray[np.uint8]


def textures(n: int, height: int, width: int, channels: int, seed: int = 0) -> Images:
    """(n, height, width, channels): n different smooth random pictures of the same brightness and contrast."""
    noise = np.random.default_rng(seed).normal(size=(n, height, width, channels))
    smooth = gaussian_filter(noise, (0, 2, 2, 0))
    centred = smooth - smooth.mean(axis=(1, 2), keepdims=True)
    return (120 + 30 * centred / centred.std(axis=(1, 2), keepdims=True)).clip(0, 255).astype(np.uint8)
