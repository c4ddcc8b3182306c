"""Palettes of masks: a number to which two files give different colours means two things."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from terracyte.core.errors import InputError

Painted = dict[int, tuple[int, ...]]
"""The colour (red, green, blue) of each number."""


def painted(picture: Image.Image, values: NDArray[np.integer[Any]]) -> Painted:
    """Return the colours that a picture's palette gives its values (h, w); empty if it has no palette."""
    palette = picture.getpalette()
    if palette is None:
        return {}
    return {value: tuple(palette[3 * value : 3 * value + 3]) for value in np.unique(values).tolist()}


class Palettes:
    """The palettes of the masks of one source."""

    def __init__(self) -> None:
        self._first: dict[int, tuple[tuple[int, ...], Path]] = {}

    def require_same(self, path: Path, colours: Painted) -> None:
        """Compare a mask's palette with those before it.

        Raises:
            InputError: the palette gives a number another colour than an earlier one.
        """
        for value, colour in colours.items():
            known, first = self._first.setdefault(value, (colour, path))
            if known != colour:
                raise InputError(
                    f"the value {value} is the colour {list(colour)} in {path} but {list(known)} in {first}: save all "
                    "masks with the same palette, or as RGB"
                )
