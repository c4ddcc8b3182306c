"""Two samples of images, number by number: which of their distributions differ.

Each number (an image's brightness, the probability that the champion gives a class, …) is compared by the two-sample
test of Kolmogorov and Smirnov, with Holm's correction for their count. Tests of a classifier's own outputs find shifts
as well as heavier methods do (Rabanser et al., "Failing Loudly", arXiv 1810.11953). With many images a test finds
differences that matter to nobody: a difference counts from a declared distance on.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from terracyte.params import Drift

Numbers = NDArray[np.float64]

_EXACT = 500  # images of either sample up to which the test's exact distribution is affordable


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """One number, compared.

    Attributes:
        name: of the number.
        distance: largest difference of the two distribution functions (Kolmogorov-Smirnov), 0-1.
        p_value: corrected for the count of comparisons.
        noticed: the smallest distance that would have counted with so many images.
        drifted: whether the difference counts.
        before, after: medians of the reference and of the incoming images.
    """

    name: str
    distance: float
    p_value: float
    noticed: float
    drifted: bool
    before: float
    after: float


def compare(reference: Mapping[str, Numbers], incoming: Mapping[str, Numbers], settings: Drift) -> list[Finding]:
    """Compare the numbers that both have, the largest distance first.

    Args:
        reference, incoming: values by name, (n,) and (m,); n and m may differ from name to name.
        settings: when a difference counts.
    """
    names = [name for name in reference if name in incoming and _vary(reference[name], incoming[name])]
    tests = [_test(reference[name], incoming[name]) for name in names]
    corrected = holm([p_value for _, p_value in tests])
    findings = [
        Finding(
            name=name,
            distance=round(distance, 6),
            p_value=round(p_value, 6),
            noticed=round(_noticed(reference[name], incoming[name], len(names), settings), 6),
            drifted=p_value < settings.significance and distance >= settings.distance,
            before=float(np.median(reference[name])),
            after=float(np.median(incoming[name])),
        )
        for name, (distance, _), p_value in zip(names, tests, corrected, strict=True)
    ]
    return sorted(findings, key=lambda finding: (not finding.drifted, -finding.distance, finding.name))


def holm(p_values: Sequence[float]) -> list[float]:
    """P values corrected for their count (Holm 1979): each may be held against the significance itself."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = highest
    return corrected


def _vary(reference: Numbers, incoming: Numbers) -> bool:
    """Grey images have no saturation: there is nothing to compare."""
    return len(np.unique(np.concatenate([reference, incoming]))) > 1


def _test(reference: Numbers, incoming: Numbers) -> tuple[float, float]:
    exact = max(len(reference), len(incoming)) <= _EXACT
    result = ks_2samp(reference, incoming, method="exact" if exact else "asymp")
    return float(result.statistic), float(result.pvalue)


def _noticed(reference: Numbers, incoming: Numbers, comparisons: int, settings: Drift) -> float:
    """Kolmogorov's critical distance at the strictest of Holm's levels; at most 1, at least the declared distance."""
    critical = math.sqrt(-math.log(settings.significance / comparisons / 2) / 2)
    n, m = len(reference), len(incoming)
    return min(1.0, max(settings.distance, critical * math.sqrt((n + m) / (n * m))))
