"""Copies of the images under shift: one that chooses models, and one that scores them.

An image's damage depends on its id, the corruption and the copy's own seed alone, so that neither batches nor
their order matter. The two copies share no image, no random number and no strength: the validation copy's
severities lie halfway between the test copy's, and its stains are others.
"""

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from terracyte.images.shift.corruptions import CORRUPTIONS, SEVERITIES, corrupt

# Seeds of the two copies.
_TEST, _VALIDATION = 20_110, 41_203
_HALFWAY = tuple((low + high) / 2 for low, high in itertools.pairwise(SEVERITIES))

Images = NDArray[np.uint8]


def validation_copy(images: Images, ids: NDArray[np.int64], names: Sequence[str]) -> Images:
    """The given images, each under one corruption at one severity, all pairs equally often; they may choose models.

    Args:
        images: (N, h, w, c), memory-mapped.
        ids: (n,) places of the images to show, in order.
        names: of the corruptions.

    Returns:
        (n, h, w, c), in the order of `ids`.
    """
    drawn = _balanced_draw(len(ids), len(names) * len(_HALFWAY), np.random.default_rng(_VALIDATION))
    shown = np.empty((len(ids), *images.shape[1:]), np.uint8)
    bar = tqdm(ids, desc="validation copy under shift", unit="image", leave=False, disable=None)
    for row, place in enumerate(bar):
        step, column = divmod(int(drawn[row]), len(names))
        random = _generator(_VALIDATION, int(place), names[column])
        shown[row] = corrupt(images[place], names[column], _HALFWAY[step], random, stand_in=True)
    return shown


def test_severities(images: int, corruptions: int) -> NDArray[np.int64]:
    """The severity at which each test image is shown under each corruption.

    Each image is shown once under each corruption, not five times: a fifth of the images stand at each
    severity of it, which has the same expectation at a fifth of the cost.

    Args:
        images: n, of the whole test split.
        corruptions: how many.

    Returns:
        (n, corruptions): 1 to 5.
    """
    random = np.random.default_rng(_TEST)
    return np.stack([1 + _balanced_draw(images, len(SEVERITIES), random) for _ in range(corruptions)], axis=1)


def test_copy(images: Images, ids: NDArray[np.int64], name: str, severities: NDArray[np.int64]) -> Images:
    """Test images under one corruption; for `evaluate` alone.

    Args:
        images: (N, h, w, c), memory-mapped.
        ids: (b,) places of the images to show, in order.
        name: of the corruption.
        severities: (b,) of the images, see `test_severities`.

    Returns:
        (b, h, w, c), in the order of `ids`.
    """
    pairs = zip(ids.tolist(), severities.tolist(), strict=True)
    return np.stack([corrupt(images[place], name, step, _generator(_TEST, place, name)) for place, step in pairs])


def _balanced_draw(images: int, choices: int, random: np.random.Generator) -> NDArray[np.int64]:
    """(images,) numbers from 0 to choices - 1 in random order, each as often as the others or once more."""
    return random.permutation(np.arange(images) % choices)


def _generator(seed: int, place: int, name: str) -> np.random.Generator:
    return np.random.default_rng([seed, place, list(CORRUPTIONS).index(name)])
