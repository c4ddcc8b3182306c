"""Changes of appearance: light, colour and sharpness.

Everything here takes planes, (b, c, h, w) float32 in 0-255: with a channel's pixels side by side NumPy is ten
times as fast as over channels-last images. The formulas are those of Keras' layers, whose parameters are drawn
per image; a test holds them against the layers.
"""

import numpy as np
from numpy.typing import NDArray

Planes = NDArray[np.float32]

# A full strength lowers the contrast by up to this share; lowered by all of it, nothing could be recognised.
_FADING = 0.8
# A full strength spans saturation factors of 1/9 to 9.
_SATURATION_SPAN = 0.8
# Standard deviations of the blur, in shares of the shorter edge: 0.5 to 2.4 pixels of 96.
_BLUR = (0.005, 0.025)
# Images that are recoloured at a time.
_CACHED = 4


def relight(planes: Planes, brightness: float, contrast: float, random: np.random.Generator) -> Planes:
    """Stretch each channel about its mean, then shift all grey values, as RandomContrast and RandomBrightness do.

    For 32 images of 96x96x3 it takes 0.5 ms; the two layers take 5 to 13.

    Args:
        planes: (b, c, h, w), 0-255.
        brightness: 1 shifts up by up to half of the range, or down by up to half of the image's mean: a dark
            image does not drown in black.
        contrast: 1 stretches by a factor of 0.2 to 2.
        random: drawn from.
    """
    shape = (len(planes), 1, 1, 1)
    shift = random.uniform(-brightness, brightness, shape).astype(np.float32)
    stretch = random.uniform(1 - _FADING * contrast, 1 + contrast, shape).astype(np.float32)
    if not (brightness or contrast):
        return planes
    mean = planes.mean(axis=(2, 3), keepdims=True)
    shift *= np.where(shift > 0, np.float32(255), mean.mean(axis=1, keepdims=True)) / 2
    changed = planes * stretch
    changed += mean - mean * stretch + shift
    limited: Planes = changed.clip(0, 255, out=changed)
    return limited


def recolour(planes: Planes, saturation: float, hue: float, random: np.random.Generator) -> Planes:
    """Scale each image's saturation and turn its hue, as RandomSaturation and RandomHue do.

    Both in one pass through hue, saturation and value: 4 ms for 32 images of 96x96x3, where the two layers
    take 31. The first layer's own limit of saturation, moreover, is 255 for images in 0-255 instead of 1.

    Args:
        planes: (b, 3, h, w), 0-255.
        saturation: 1 scales by a factor of 1/9 to 9.
        hue: largest turn of the colour circle to either side, in turns.
        random: drawn from.
    """
    shape = (len(planes), 1, 1)
    share = random.uniform(0.5 - _SATURATION_SPAN * saturation / 2, 0.5 + _SATURATION_SPAN * saturation / 2, shape)
    turn = random.uniform(-hue, hue, shape).astype(np.float32)
    if not (saturation or hue):
        return planes
    factor = (share / (1 - share)).astype(np.float32)
    changed = np.empty_like(planes)
    # a few images at a time stay in the processor's cache: 4 ms instead of 11
    for start in range(0, len(planes), _CACHED):
        part = slice(start, start + _CACHED)
        changed[part] = _shift_hue(planes[part], factor[part], turn[part])
    return changed


def _shift_hue(planes: Planes, factor: Planes, turn: Planes) -> Planes:
    """Saturation times `factor`, hue plus `turn`, each (b, 1, 1); the value stays."""
    red, green, blue = planes[:, 0], planes[:, 1], planes[:, 2]
    value = np.maximum(np.maximum(red, green), blue)
    chroma = value - np.minimum(np.minimum(red, green), blue)
    scale = 1 / np.maximum(chroma, np.float32(1e-6))
    # in sixths of the colour circle
    hue = np.where(
        value == red,
        (green - blue) * scale,
        np.where(value == green, (blue - red) * scale + 2, (red - green) * scale + 4),
    )
    hue += 6 * turn
    chroma = np.minimum(chroma * factor, value)
    changed = np.empty_like(planes)
    for channel, offset in enumerate((5, 3, 1)):
        sector = hue + np.float32(offset)
        sector -= 6 * np.floor(sector / 6)
        changed[:, channel] = value - chroma * np.minimum(sector, 4 - sector).clip(0, 1)
    return changed


def blur(planes: Planes, probability: float, random: np.random.Generator) -> Planes:
    """Blur some images with Gaussians, each with its own; the border mirrors the image.

    Keras' RandomGaussianBlur has one width for the whole batch, of 1 pixel at most, and darkens the border, as it
    pads with black.

    Args:
        planes: (b, c, h, w), 0-255.
        probability: that an image is blurred.
        random: drawn from.
    """
    from keras import ops

    size, _, height, width = planes.shape
    chosen = random.random((size,)) < probability
    sigma = random.uniform(*_BLUR, (size,)).astype(np.float32)[chosen] * min(height, width)
    if not chosen.any():
        return planes
    planes = planes.copy()
    # an image between two matrix products, rows and columns; not NumPy's, whose threads fight with the backend's
    rows, columns = _blur_matrices(height, sigma), _blur_matrices(width, sigma).swapaxes(2, 3)
    planes[chosen] = ops.convert_to_numpy(ops.matmul(ops.matmul(rows, planes[chosen]), columns))
    return planes


def _blur_matrices(length: int, sigma: NDArray[np.float32]) -> Planes:
    """(b, 1, length, length): each row holds the weights of all pixels in one blurred pixel."""
    seen, at = np.arange(length, dtype=np.float32), np.arange(length, dtype=np.float32)[:, None]
    images = [seen, -1 - seen, 2 * length - 1 - seen]
    distances = np.stack([image - at for image in images])[:, None, None]
    weights = np.exp(-0.5 * (distances / sigma[:, None, None, None]) ** 2).sum(axis=0)
    normalised: Planes = weights / weights.sum(axis=-1, keepdims=True)
    return normalised
