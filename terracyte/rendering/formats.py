"""Formats identifiers and numbers for people to read."""

import math

_ABSENT = "–"  # noqa: RUF001 (a dash, not a minus)
_NAMES = {"f1": "F1", "iou": "IoU", "jpeg": "JPEG", "val": "validation"}


def words(identifier: str) -> str:
    """`course_mean_iou` → `course mean IoU`, `repeated_image` → `repeated image`."""
    return " ".join(_NAMES.get(word, word) for word in identifier.split("_"))


def sentence(text: str) -> str:
    """`plain U-Net` → `Plain U-Net`; the other capitals stay."""
    return text[:1].upper() + text[1:]


def percent(share: float, decimals: int = 1) -> str:
    """0.7322 → `73.2`; a dash for NaN."""
    return _ABSENT if math.isnan(share) else f"{100 * share:.{decimals}f}"


def telling_apart(one: float, other: float) -> int:
    """Return the number of decimals, 1 to 4, at which two shares differ when shown as percentages."""
    return next((n for n in range(1, 4) if percent(one, n) != percent(other, n)), 4)


def interval(low: float, high: float, decimals: int = 1) -> str:
    """0.71, 0.745 → `71.0 to 74.5`."""
    return f"{percent(low, decimals)} to {percent(high, decimals)}"


def estimate(share: float, low: float, high: float) -> str:
    """0.7322, 0.71, 0.745 → `73.2 (71.0 to 74.5)`."""
    return f"{percent(share)} ({interval(low, high)})"


def p_value(probability: float) -> str:
    """0.0123 → `0.012`, 0.0004 → `< 0.001`; a dash for NaN."""
    if math.isnan(probability):
        return _ABSENT
    return "< 0.001" if probability < 0.001 else f"{probability:.3f}"


def difference(value: float, low: float, high: float, other: str = "") -> str:
    """0.1, -0.01, 0.18 → `+10.0 (−1.0 to +18.0)`, in percentage points, followed by `to <other>`; a dash for NaN."""
    if math.isnan(value):
        return _ABSENT
    return f"{_signed(value)} ({_signed(low)} to {_signed(high)})" + (f" to {other}" if other else "")


def points(share: float) -> str:
    """-0.012 → `−1.2`, in percentage points; a dash for NaN."""
    return _ABSENT if math.isnan(share) else _signed(share)


def count(number: int) -> str:
    """1234567 → `1 234 567`, with narrow spaces that do not break."""
    return f"{number:,}".replace(",", "\u202f")


def _signed(share: float) -> str:
    # Rounding and adding 0.0 first avoids "−0.0" for tiny negative numbers. A true minus sign is as wide as the plus.
    return f"{round(100 * share, 1) + 0.0:+.1f}".replace("-", "\u2212")
