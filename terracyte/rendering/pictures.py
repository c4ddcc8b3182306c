"""Images for people: photographs and coloured masks, as data URIs that are embedded in a page."""

import base64
import dataclasses
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

# One colour per label of a mask: background, soil, bedrock, sand, big rock, and three to spare. Any two of the
# first five differ by at least 31 (CIE 1976 ΔE) for normal sight and for simulated protanopia, deuteranopia and
# tritanopia (Machado et al. 2009).
PALETTE = ("#3b3b3b", "#c1693c", "#56b4e9", "#f0e442", "#7b1fa2", "#009e73", "#cc79a7", "#0072b2")

_COLOURS = np.array([ImageColor.getrgb(colour) for colour in PALETTE])  # (8, 3), 0-255
_JPEG_QUALITY = 85
_DIMMED = 0.3  # share of its colour that a dimmed pixel keeps
_OVERLAY = 0.45  # share of the class's colour in an overlay; the rest is the image


@dataclasses.dataclass(frozen=True)
class Picture:
    """An image on a page.

    Attributes:
        uri: data URI, `data:image/…`.
        text: alternative text for those who do not see the image.
        label: text below the image; empty for none.
    """

    uri: str
    text: str
    label: str = ""


def from_array(image: NDArray[np.uint8]) -> Image.Image:
    """Convert (h, w, c) uint8 with 1 or 3 channels to a Pillow image."""
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def photograph(image: NDArray[np.uint8]) -> str:
    """Convert (h, w, c) uint8 with 1 or 3 channels to a JPEG's data URI."""
    return data_uri(from_array(image), "jpeg", quality=_JPEG_QUALITY, optimize=True)


def indexed(mask: NDArray[np.uint8]) -> Image.Image:
    """Convert a mask (h, w) to a picture whose pixel values are the labels, shown in their colours."""
    picture = Image.fromarray(mask)
    picture.putpalette(_COLOURS[np.arange(256) % len(PALETTE)].astype(np.uint8).tobytes())
    return picture


def colour_of(label: int) -> str:
    """Return the colour of a label, as in `#3b3b3b`."""
    return PALETTE[label % len(PALETTE)]


def painted(mask: NDArray[np.uint8], dimmed: NDArray[np.bool_] | None = None) -> str:
    """Paint a mask in the colours of its labels.

    Args:
        mask: (h, w) labels; from the ninth label on, the palette's eight colours repeat.
        dimmed: (h, w), true where the colours are darkened; None for nowhere.

    Returns:
        The data URI of a PNG.
    """
    pixels = _COLOURS[mask % len(PALETTE)]
    if dimmed is not None:
        pixels[dimmed] = (_DIMMED * pixels[dimmed] + (1 - _DIMMED) * _COLOURS[0]).round()
    # There are at most 16 colours; a PNG with a palette is a third of the size.
    picture = Image.fromarray(pixels.astype(np.uint8)).quantize(2 * len(PALETTE), dither=Image.Dither.NONE)
    return data_uri(picture, "png", optimize=True)


def overlaid(image: NDArray[np.uint8], labels: NDArray[np.integer], share: float = _OVERLAY) -> Image.Image:
    """Blend an image with the colours of its labels.

    Args:
        image: (h, w, c), 0-255, with 1 or 3 channels.
        labels: (h, w) class of each pixel.
        share: share of the label's colour in each pixel, 0-1; the rest is the image.
    """
    mixed = (1 - share) * image + share * _COLOURS[labels % len(PALETTE)]
    return Image.fromarray(mixed.round().astype(np.uint8))


def data_uri(picture: Image.Image, kind: str, **options: Any) -> str:
    """Encode the picture as a data URI of a format that Pillow writes, such as png; `options` go to Pillow."""
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
