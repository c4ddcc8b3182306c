"""Images for people: photographs and coloured masks, as data URIs that a page holds within itself."""

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
    """An image of a page.

    Attributes:
        uri: `data:image/…`.
        text: what it shows, for those who do not see it.
        label: what stands below it; empty for nothing.
    """

    uri: str
    text: str
    label: str = ""


def from_array(image: NDArray[np.uint8]) -> Image.Image:
    """(h, w, c) uint8 with 1 or 3 channels as a picture."""
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def photograph(image: NDArray[np.uint8]) -> str:
    """(h, w, c) uint8 with 1 or 3 channels → a JPEG's data URI."""
    return data_uri(from_array(image), "jpeg", quality=_JPEG_QUALITY, optimize=True)


def painted(mask: NDArray[np.uint8], dimmed: NDArray[np.bool_] | None = None) -> str:
    """A mask in the colours of its labels.

    Args:
        mask: (h, w) labels; beyond the palette's eight colours, the colours repeat.
        dimmed: (h, w), where to darken them; None for nowhere.

    Returns:
        A PNG's data URI.
    """
    pixels = _COLOURS[mask % len(PALETTE)]
    if dimmed is not None:
        pixels[dimmed] = (_DIMMED * pixels[dimmed] + (1 - _DIMMED) * _COLOURS[0]).round()
    # At most 16 colours: a palette makes the file a third of the size.
    picture = Image.fromarray(pixels.astype(np.uint8)).quantize(2 * len(PALETTE), dither=Image.Dither.NONE)
    return data_uri(picture, "png", optimize=True)


def overlaid(image: NDArray[np.uint8], labels: NDArray[np.integer], share: float = _OVERLAY) -> Image.Image:
    """An image under the colours of its labels.

    Args:
        image: (h, w, c), 0-255, with 1 or 3 channels.
        labels: (h, w).
        share: of the colour in each pixel, 0-1; the rest is the image.
    """
    mixed = (1 - share) * image + share * _COLOURS[labels % len(PALETTE)]
    return Image.fromarray(mixed.round().astype(np.uint8))


def data_uri(picture: Image.Image, kind: str, **options: Any) -> str:
    """The picture as a file of a kind that Pillow writes, such as png, in an address of its own."""
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
