"""Eleven ways in which a picture gets worse, at five severities each, after ImageNet-C (arXiv 1903.12261).

They stand for what another microscope, stain or camera does. Strengths are set for cells of about 96 pixels:
at severity 5 a person still tells most of them. None of them is a training augmentation: those turn, shift
and mix colours, bend each channel's grey values by random sines, blur with a Gaussian, filter with random weights of
3x3 pixels, shade regions of a random field, and erase boxes, some with normal noise of their pixels' own; these blend
with white, the middle grey and the lightness of HSL, lower the value of HSV, blur with discs and lines, lay photons'
noise over the whole image, and let dye take light by its density.

All but pixelation leave contours where they are, so that masks stay true: points are changed one by one, blurs are
symmetric, and stains are transparent.
"""

import dataclasses
import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from PIL import Image
from scipy.special import expit

Pixels = NDArray[np.floating[Any]]

SEVERITIES = (1, 2, 3, 4, 5)

_MIDDLE = 0.5
# Standard deviation of the sensor's own noise, of which each shot has some.
_READ_NOISE = 0.02
# Light that passes spilt dye, dried buffer, dust and fixative, by colour channel.
_DYES = np.array([[0.35, 0.15, 0.55], [0.85, 0.35, 0.55], [0.55, 0.45, 0.2], [0.25, 0.4, 0.65]], np.float32)


@dataclasses.dataclass(frozen=True)
class Corruption:
    """One kind of damage.

    Attributes:
        apply: (h, w, 3) float32 in 0-1, a strength and random numbers to draw from → such an image; values
            beyond 0-1 are cut off afterwards.
        strengths: at the five severities.
        stand_in: what damages the copy of the validation split instead: where one formula would say too little about
            the many forms that the damage takes.
    """

    apply: Callable[[Pixels, float, np.random.Generator], Pixels]
    strengths: tuple[float, float, float, float, float]
    stand_in: Callable[[Pixels, float, np.random.Generator], Pixels] | None = None


def corrupt(
    image: NDArray[np.uint8], name: str, severity: float, random: np.random.Generator, stand_in: bool = False
) -> NDArray[np.uint8]:
    """Damage one image.

    Args:
        image: (h, w, c), 0-255; a single channel is taken for grey.
        name: a key of `CORRUPTIONS`.
        severity: 1 (slight) to 5 (hard); strengths between two whole severities are interpolated.
        random: what the damage is drawn from: a generator in the same state gives the same damage.
        stand_in: take the corruption's `stand_in`, where it has one.

    Returns:
        An image of the same shape.
    """
    corruption = CORRUPTIONS[name]
    strength = float(np.interp(severity, SEVERITIES, corruption.strengths))
    channels = image.shape[-1]
    colour = np.repeat(image.astype(np.float32) / 255, 3 // channels, axis=-1)
    damage = (stand_in and corruption.stand_in) or corruption.apply
    return _bytes(damage(colour, strength, random)[..., :channels])


def _bytes(image: Pixels) -> NDArray[np.uint8]:
    limited: Pixels = image.clip(0, 1)
    return np.rint(limited * 255).astype(np.uint8)


def _brighten(image: Pixels, strength: float, random: np.random.Generator) -> Pixels:
    """Blend with white, as stray light in the objective does."""
    return image + strength * (1 - image)


def _darken(image: Pixels, strength: float, random: np.random.Generator) -> Pixels:
    """Take from the value of HSV: the shadows turn black, hue and saturation of the rest stay."""
    value: Pixels = image.max(axis=-1, keepdims=True)
    darkened: Pixels = image * (np.maximum(value - strength, 0) / np.maximum(value, 1 / 255))
    return darkened


def _contrast(image: Pixels, strength: float, random: np.random.Generator) -> Pixels:
    """Scale the distance from the middle grey."""
    return (image - _MIDDLE) * strength + _MIDDLE


def _saturation(image: Pixels, strength: float, random: np.random.Generator) -> Pixels:
    """Scale the distance from the lightness of HSL: pale or, as often, garish."""
    grey: Pixels = (image.max(axis=-1, keepdims=True) + image.min(axis=-1, keepdims=True)) / 2
    factor = 1 + 3 * strength if random.random() < 0.5 else 1 - strength
    return grey + (image - grey) * factor


def _defocus_blur(image: Pixels, radius: float, random: np.random.Generator) -> Pixels:
    """Each point becomes a disc with a soft rim."""
    y, x = _grid(int(np.ceil(radius)))
    return _convolve(image, (radius + 0.5 - np.hypot(y, x)).clip(0, 1))


def _motion_blur(image: Pixels, length: float, random: np.random.Generator) -> Pixels:
    """Each point becomes a line, in any direction."""
    angle = random.uniform(0, np.pi)
    y, x = _grid(int(np.ceil(length / 2)))
    along = np.abs(x * np.cos(angle) + y * np.sin(angle))
    across = np.abs(y * np.cos(angle) - x * np.sin(angle))
    return _convolve(image, (length / 2 + 0.5 - along).clip(0, 1) * (1 - across).clip(0))


def _grid(reach: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of a kernel, counted from its centre."""
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return y, x


def _convolve(image: Pixels, kernel: NDArray[np.float64]) -> Pixels:
    """With the kernel scaled to a sum of 1; beyond its border the image is mirrored."""
    reach = len(kernel) // 2
    padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="symmetric")
    # A circular convolution of the padded image: what wraps around lies in the part that is cut off.
    shape = [scipy.fft.next_fast_len(size, real=True) for size in padded.shape[:2]]
    spectrum = scipy.fft.rfft2(padded, shape, axes=(0, 1))
    spectrum *= scipy.fft.rfft2((kernel / kernel.sum()).astype(np.float32), shape)[..., None]
    blurred: Pixels = scipy.fft.irfft2(spectrum, shape, axes=(0, 1))
    height, width, _ = image.shape
    return blurred[2 * reach : 2 * reach + height, 2 * reach : 2 * reach + width]


def _noise(image: Pixels, strength: float, random: np.random.Generator) -> Pixels:
    """Of 1 / strength² photons per white pixel: Poisson's shot noise; and the sensor's own on top."""
    shot = random.poisson(image / strength**2) * strength**2
    return (shot + random.normal(0, _READ_NOISE, image.shape)).astype(np.float32)


def _pixelation(image: Pixels, factor: float, random: np.random.Generator) -> Pixels:
    """Averaged to an edge shorter by the factor and shown at the old one."""
    height, width, _ = image.shape
    small = max(1, round(width / factor)), max(1, round(height / factor))
    coarse = Image.fromarray(_bytes(image)).resize(small, Image.Resampling.BOX)
    return _pixels(coarse.resize((width, height), Image.Resampling.NEAREST))


def _jpeg(image: Pixels, loss: float, random: np.random.Generator) -> Pixels:
    """Kept at a quality of 100 - loss (libjpeg's scale)."""
    file = io.BytesIO()
    Image.fromarray(_bytes(image)).save(file, format="JPEG", quality=round(100 - loss))
    return _pixels(Image.open(file))


def _pixels(image: Image.Image) -> Pixels:
    return np.asarray(image, np.float32) / 255


def _stain(image: Pixels, strength: float, random: np.random.Generator) -> Pixels:
    """Spilt dye and air bubbles: five times `strength` of them, the larger and stronger the more."""
    for _ in range(round(5 * strength)):
        height, width, _channels = image.shape
        y, x = np.ogrid[:height, :width]
        radius = min(height, width) * (0.1 + 0.3 * strength) * random.uniform(0.6, 1.2)
        centre = random.uniform(0, height), random.uniform(0, width)
        distance = (np.hypot(y - centre[0], x - centre[1]) / radius).astype(np.float32)[..., None]
        artefact = _blob if random.random() < 0.5 else _bubble
        image = artefact(image, distance, strength, random)
    return image


def _blob(image: Pixels, distance: Pixels, strength: float, random: np.random.Generator) -> Pixels:
    """A soft spot of dye. `distance` is 1 at its rim."""
    return _dye(image, 2 * strength * expit(8 * (1 - distance)), random)


def _dye(image: Pixels, density: Pixels, random: np.random.Generator) -> Pixels:
    """Dye lets the light of its own colour pass, and the less the denser it is (Beer and Lambert's law)."""
    dyed: Pixels = image * _DYES[random.integers(len(_DYES))] ** density
    return dyed


def _bubble(image: Pixels, distance: Pixels, strength: float, random: np.random.Generator) -> Pixels:
    """A bright ring inside a dark one, as air refracts light. `distance` is 1 between the two."""
    bright: Pixels = np.exp(-(((distance - 0.88) / 0.1) ** 2))
    dark: Pixels = np.exp(-(((distance - 1.08) / 0.1) ** 2))
    return image + strength * (bright * (1 - image) - dark * image)


def _wash(image: Pixels, strength: float, random: np.random.Generator) -> Pixels:
    """Dye that ran in from two sides, with wavy fronts."""
    height, width, _channels = image.shape
    y, x = np.mgrid[:height, :width] / min(height, width) - 0.5
    for _ in range(2):
        angle, phase = random.uniform(0, 2 * np.pi, 2)
        along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        front = 0.45 - 0.5 * strength * random.uniform(0.6, 1.2) + 0.06 * np.sin(8 * across + phase)
        image = _dye(image, (2 * strength * expit(16 * (along - front))).astype(np.float32)[..., None], random)
    return image


CORRUPTIONS: Mapping[str, Corruption] = {
    "brightness_up": Corruption(_brighten, (0.2, 0.36, 0.5, 0.62, 0.72)),
    "brightness_down": Corruption(_darken, (0.1, 0.2, 0.29, 0.37, 0.45)),
    "contrast_up": Corruption(_contrast, (1.3, 1.6, 2.0, 2.5, 3.2)),
    "contrast_down": Corruption(_contrast, (0.7, 0.55, 0.42, 0.3, 0.2)),
    "saturation": Corruption(_saturation, (0.3, 0.5, 0.7, 0.85, 1.0)),
    "defocus_blur": Corruption(_defocus_blur, (1.0, 1.7, 2.4, 3.2, 4.0)),
    "motion_blur": Corruption(_motion_blur, (3.0, 5.5, 8.0, 11.0, 14.0)),
    "noise": Corruption(_noise, (0.07, 0.11, 0.16, 0.22, 0.3)),
    "pixelation": Corruption(_pixelation, (1.7, 2.3, 3.0, 3.8, 4.8)),
    "jpeg": Corruption(_jpeg, (70.0, 80.0, 87.0, 91.0, 94.0)),
    "stain": Corruption(_stain, (0.3, 0.42, 0.55, 0.68, 0.8), stand_in=_wash),
}
