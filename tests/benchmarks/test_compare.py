"""A row in two experiments."""

import numpy as np
import pytest

from benchmarks import compare
from terracyte.core.errors import InputError


def test_rows_of_other_test_images_are_not_compared() -> None:
    counts = np.arange(24).reshape(2, 3, 2, 2)
    compare.require_same_images(counts[:1], counts[:1, :, :, ::-1])  # the same truth, other predictions
    for other in (counts[:1, ::-1], counts[:1, :2]):
        with pytest.raises(InputError, match="different test images"):
            compare.require_same_images(counts[:1], other)
