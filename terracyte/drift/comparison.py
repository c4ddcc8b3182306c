"""Two-sample tests of image statistics: which of their distributions differ between two sets of images.

Each statistic (an image's brightness, the champion's probability of a class, …) is compared by the two-sample test of
Kolmogorov and Smirnov, with Holm's correction for the number of tests. Tests of a classifier's outputs detect shifts as
well as heavier methods do (Rabanser et al., "Failing Loudly", arXiv 1810.11953). With many images a test also detects
differences too small to matter; a difference therefore counts only if it reaches a configured distance.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from terracyte.params import Drift

Numbers = NDArray[np.float64]

_EXACT = 500  # images in the larger sample; beyond it, computing the test's exact distribution takes too long


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """The comparison of one statistic.

    Attributes:
        name: the statistic's name.
        distance: largest difference of the two distribution functions (Kolmogorov-Smirnov), 0-1.
        p_value: p value, corrected for the number of tests, 0-1.
        noticed: smallest distance that would have counted with this number of images, 0-1.
        drifted: whether the difference counts.
        before, after: the statistic's medians in the reference and in the incoming images.
    """

    name: str
    distance: float
    p_value: float
    noticed: float
    drifted: bool
    before: float
    after: float


def compare(reference: Mapping[str, Numbers], incoming: Mapping[str, Numbers], settings: Drift) -> list[Finding]:
    """Compare the statistics that both have; findings that count come first, then larger before smaller distances.

    Args:
        reference, incoming: values by statistic, (n,) and (m,); n and m may differ between statistics.
        settings: the significance level and the smallest distance that counts.
    """
    both = [name for name in reference if name in incoming]
    # values may not differ at all: grey images, for instance, all have a saturation of 0
    names = [name for name in both if np.ptp(np.concatenate([reference[name], incoming[name]]))]
    tests = [_kolmogorov_smirnov(reference[name], incoming[name]) for name in names]
    corrected = holm([p_value for _, p_value in tests])
    findings = [
        Finding(
            name=name,
            distance=round(distance, 6),
            p_value=round(p_value, 6),
            noticed=round(_detectable_distance(reference[name], incoming[name], len(names), settings), 6),
            drifted=p_value < settings.significance and distance >= settings.distance,
            before=float(np.median(reference[name])),
            after=float(np.median(incoming[name])),
        )
        for name, (distance, _), p_value in zip(names, tests, corrected, strict=True)
    ]
    return sorted(findings, key=lambda finding: (not finding.drifted, -finding.distance, finding.name))


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for their number (Holm 1979); the results are compared with the significance level itself."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = highest
    return corrected


def _kolmogorov_smirnov(reference: Numbers, incoming: Numbers) -> tuple[float, float]:
    """Return the distance and the p value."""
    exact = max(len(reference), len(incoming)) <= _EXACT
    result = ks_2samp(reference, incoming, method="exact" if exact else "asymp")
    return float(result.statistic), float(result.pvalue)


def _detectable_distance(reference: Numbers, incoming: Numbers, comparisons: int, settings: Drift) -> float:
    """Return the test's critical distance at Holm's strictest level, at least the configured distance and at most 1."""
    critical = math.sqrt(-math.log(settings.significance / comparisons / 2) / 2)
    n, m = len(reference), len(incoming)
    return min(1.0, max(settings.distance, critical * math.sqrt((n + m) / (n * m))))
