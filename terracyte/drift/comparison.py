"""Two-sample tests of image statistics: which of their distributions differ between two sets of images.

Each statistic (an image's brightness, the champion's probability of a class, …) is compared by the two-sample test of
Kolmogorov and Smirnov, with Holm's correction for the number of tests. Tests of a classifier's outputs find shifts as
well as heavier methods do (Rabanser et al., "Failing Loudly", arXiv 1810.11953). With many images a test also finds
differences too small to matter, therefore a difference counts only from a declared distance on.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from terracyte.params import Drift

Numbers = NDArray[np.float64]

_EXACT = 500  # images in the larger sample up to which the test's exact distribution is affordable


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """The comparison of one statistic.

    Attributes:
        name: of the statistic.
        distance: largest difference of the two distribution functions (Kolmogorov-Smirnov), 0-1.
        p_value: corrected for the number of tests, 0-1.
        noticed: smallest distance that would have counted with this number of images, 0-1.
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
    """Compare the statistics that both have; findings that count come first, then the largest distance.

    Args:
        reference, incoming: values by name, (n,) and (m,); n and m may differ from name to name.
        settings: when a difference counts.
    """
    names = [name for name in reference if name in incoming and _varies(reference[name], incoming[name])]
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
    """P values corrected for their number (Holm 1979), to be compared with the significance level itself."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = highest
    return corrected


def _varies(reference: Numbers, incoming: Numbers) -> bool:
    """Whether there is anything to compare: grey images, for instance, all have a saturation of 0."""
    return len(np.unique(np.concatenate([reference, incoming]))) > 1


def _kolmogorov_smirnov(reference: Numbers, incoming: Numbers) -> tuple[float, float]:
    """Distance and p value."""
    exact = max(len(reference), len(incoming)) <= _EXACT
    result = ks_2samp(reference, incoming, method="exact" if exact else "asymp")
    return float(result.statistic), float(result.pvalue)


def _detectable_distance(reference: Numbers, incoming: Numbers, comparisons: int, settings: Drift) -> float:
    """The critical distance of the test at Holm's strictest level, but at least the declared distance; at most 1."""
    critical = math.sqrt(-math.log(settings.significance / comparisons / 2) / 2)
    n, m = len(reference), len(incoming)
    return min(1.0, max(settings.distance, critical * math.sqrt((n + m) / (n * m))))
