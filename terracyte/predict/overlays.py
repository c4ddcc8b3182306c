"""A predicted mask over its image, in the colours of the report."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from terracyte.report.pictures import PALETTE

_COLOUR = 0.45  # share of the class's colour; the rest is the image


def overlaid(image: NDArray[np.uint8], labels: NDArray[np.integer]) -> Image.Image:
    """An image (h, w, c), c being 1 or 3, under the colours of its labels (h, w)."""
    colours = np.array([ImageColor.getrgb(colour) for colour in PALETTE])[labels % len(PALETTE)]
    mixed = (1 - _COLOUR) * image + _COLOUR * colours
    return Image.fromarray(mixed.round().astype(np.uint8))
