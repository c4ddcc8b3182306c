"""Changes of appearance: light, colour and sharpness.

Everything here changes images, (b, h, w, c) float32 in 0-255, in place: a copy for each change would cost as much as
the change. The formulas are those of Keras' layers, whose parameters are drawn per image; a test holds them against
the layers.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.float32]

# A full strength lowers the contrast by up to this share; lowered by all of it, nothing could be recognised.
_FADING = 0.8
# A full strength spans saturation factors of 1/9 to 9.
_SATURATION_SPAN = 0.8
# Standard deviations of the blur, in shares of the shorter edge: 0.5 to 2.4 pixels of 96.
_BLUR = (0.005, 0.025)
# PRIME's curves: standard deviation of each sine's amplitude, in shares of the grey range, and their number; its
# filters: standard deviation of each weight beside the identity, and the edge in pixels.
_CURVE, _SINES = 0.1, 4
_WEIGHT, _EDGE = 0.1, 3
# Shaded regions: cells along an edge of the random field, how steep their borders are, the factor of each channel in
# them, and what is added to half of them, in shares of the grey range.
_CELLS, _STEEP, _GAIN, _ADDED = (2, 6), (2.0, 10.0), (0.1, 1.2), 0.4


def relight(images: Images, brightness: float, contrast: float, random: np.random.Generator) -> None:
    """Stretch each channel about its mean, then shift all grey values, as RandomContrast and RandomBrightness do.

    Args:
        images: (b, h, w, c), 0-255.
        brightness: 1 shifts up by up to half of the range, or down by up to half of the image's mean: a dark
            image does not drown in black.
        contrast: 1 stretches by a factor of 0.2 to 2.
        random: drawn from.
    """
    size, height, width, channels = images.shape
    shift = random.uniform(-brightness, brightness, (size, 1)).astype(np.float32)
    stretch = random.uniform(1 - _FADING * contrast, 1 + contrast, (size, 1)).astype(np.float32)
    if not (brightness or contrast):
        return
    # over whole rows of pixels: NumPy is slow where only the channels lie side by side
    rows = images.reshape(size, height, width * channels)
    mean = rows.mean(axis=1).reshape(size, width, channels).mean(axis=1)
    shift *= np.where(shift > 0, np.float32(255), mean.mean(axis=1, keepdims=True)) / 2
    offset = np.tile(mean - mean * stretch + shift, (1, width))
    for row, factor, added in zip(rows, stretch, offset, strict=True):
        row *= factor
        row += added
        np.clip(row, 0, 255, out=row)


def recolour(images: Images, saturation: float, hue: float, random: np.random.Generator) -> None:
    """Scale each image's saturation and turn its hue, as RandomSaturation and RandomHue do.

    Both in one pass through hue, saturation and value: 1 ms for 32 images of 96x96x3, where the two layers
    take 31. The first layer's own limit of saturation, moreover, is 255 for images in 0-255 instead of 1.

    Args:
        images: (b, h, w, 3), 0-255.
        saturation: 1 scales by a factor of 1/9 to 9.
        hue: largest turn of the colour circle to either side, in turns.
        random: drawn from.
    """
    size = len(images)
    share = random.uniform(0.5 - _SATURATION_SPAN * saturation / 2, 0.5 + _SATURATION_SPAN * saturation / 2, size)
    turn = random.uniform(-hue, hue, size)
    if not (saturation or hue):
        return
    for image, factor, turned in zip(images, share / (1 - share), turn, strict=True):
        _shift_hue(image, factor, turned)


def _shift_hue(image: Images, factor: float, turn: float) -> None:
    """Saturation times `factor`, up to 1, and hue plus `turn`; the value stays."""
    changed = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)  # of floats: degrees, 0-1, and the largest of red, green, blue
    # a turn to the left as one to the right: on the way back OpenCV takes hues from 720 down to 0 alone
    cv2.transform(changed, np.array([[1, 0, 0, 360 * (turn % 1)], [0, factor, 0, 0], [0, 0, 1, 0]]), changed)
    changed[..., 1].clip(None, 1, out=changed[..., 1])
    cv2.cvtColor(changed, cv2.COLOR_HSV2RGB, image)


def prime(images: Images, probability: float, random: np.random.Generator) -> None:
    """Mix some images with two random changes of them: bent grey values, and a random filter (arXiv 2112.13547).

    The paper's transforms of the highest entropy, one of each kind, in a random convex mixture with the image: its
    filter, and its smooth function of each channel's grey values, which may rise and fall. Its warps are left out:
    masks stay as they are.

    Args:
        images: (b, h, w, c), 0-255.
        probability: that an image is changed.
        random: drawn from.
    """
    chosen = random.random(len(images)) < probability
    size, channels = int(chosen.sum()), images.shape[-1]
    shares = random.dirichlet(np.ones(3), size)
    curves, kernels = _curves(size, channels, random), _kernels(size, random)
    identity = np.zeros((_EDGE, _EDGE))
    identity[_EDGE // 2, _EDGE // 2] = 1
    for place, (kept, bent, filtered), curve, kernel in zip(
        np.flatnonzero(chosen), shares, curves, kernels, strict=True
    ):
        image = images[place]
        # of whole grey values, each of which a table looks up
        bends = cv2.LUT(cv2.convertScaleAbs(image), (bent * curve).astype(np.float32))
        # image and filtered image are one filter
        cv2.filter2D(image, -1, kept * identity + filtered * kernel, image, borderType=cv2.BORDER_REFLECT)
        image += bends.reshape(image.shape)
        np.clip(image, 0, 255, out=image)


def _curves(size: int, channels: int, random: np.random.Generator) -> NDArray[np.float64]:
    """(b, 1, 256, c): what each grey value x becomes, 0-255: x + sum of a_k sin(pi k x), with x in 0-1."""
    grey = np.arange(256) / 255
    sines = np.sin(np.pi * grey[:, None] * np.arange(1, _SINES + 1))
    amplitudes = random.normal(0, _CURVE, (size, 1, _SINES, channels))
    curves: NDArray[np.float64] = 255 * (grey[:, None] + sines @ amplitudes).clip(0, 1)
    return curves


def _kernels(size: int, random: np.random.Generator) -> NDArray[np.float64]:
    """(b, edge, edge): the identity and random weights, which sum to 0, so that flat places keep their grey."""
    weights = random.normal(0, _WEIGHT, (size, _EDGE, _EDGE))
    weights -= weights.mean(axis=(1, 2), keepdims=True)
    weights[:, _EDGE // 2, _EDGE // 2] += 1
    return weights


def shade(images: Images, probability: float, random: np.random.Generator) -> None:
    """Let smooth regions of some images have another light: each channel scaled, and lifted in half of the images.

    Uneven stain, light and film change a part of an image, where the changes above change all of it.

    Args:
        images: (b, h, w, c), 0-255.
        probability: that an image is changed.
        random: drawn from.
    """
    chosen = np.flatnonzero(random.random(len(images)) < probability)
    size, (_, height, width, channels) = len(chosen), images.shape
    gains = random.uniform(*_GAIN, (size, channels))
    added = random.uniform(0, 255 * _ADDED, (size, channels)) * (random.random((size, 1)) < 0.5)
    for place, gain, lift in zip(chosen, gains.astype(np.float32), added.astype(np.float32), strict=True):
        image, region = images[place], _region(height, width, random)[..., None]
        image += region * (image * (gain - 1) + lift)
        np.clip(image, 0, 255, out=image)


def _region(height: int, width: int, random: np.random.Generator) -> NDArray[np.float32]:
    """(h, w), 0-1: a smooth random field about a random level, with soft borders."""
    coarse = random.random((int(random.integers(*_CELLS)), int(random.integers(*_CELLS))), np.float32)
    field = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    region: NDArray[np.float32] = ((field - random.uniform(0.2, 0.8)) * random.uniform(*_STEEP) + 0.5).clip(0, 1)
    return region.astype(np.float32)


def blur(images: Images, probability: float, random: np.random.Generator) -> None:
    """Blur some images with Gaussians, each with its own; the border mirrors the image.

    Keras' RandomGaussianBlur has one width for the whole batch, of 1 pixel at most, and darkens the border, as it
    pads with black.

    Args:
        images: (b, h, w, c), 0-255.
        probability: that an image is blurred.
        random: drawn from.
    """
    size, height, width, _ = images.shape
    chosen = random.random(size) < probability
    sigmas = random.uniform(*_BLUR, size) * min(height, width)
    for place in np.flatnonzero(chosen):
        image, sigma = images[place], sigmas[place]
        cv2.GaussianBlur(image, (0, 0), sigma, image, sigma, cv2.BORDER_REFLECT)
