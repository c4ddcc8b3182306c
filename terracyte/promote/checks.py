"""The checks of a candidate; only `wording` turns a check into a sentence."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

# Why there is no comparison with the recorded champion. These checks only inform and are always passed.
CHAMPION_LOST, OTHER_CHAMPION, NO_CHAMPION = "champion_lost", "other_champion", "no_champion"
OTHER_CLASSES, OTHER_SHAPE, NO_COMMON_IMAGE = "other_classes", "other_shape", "no_common_image"

# Checks of the comparison with the champion.
BETTER, CLASS_DROP = "better", "class_drop"

# Checks of the model's behaviour.
FLIPS, BRIGHTNESS, EMPTY, BATCH = "flips", "brightness", "empty_image", "batch_of_one"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that a candidate was checked for.

    Attributes:
        name: one of the names above.
        passed: False if the check speaks against the candidate.
        figures: what was found, and the bound that applies to it.
    """

    name: str
    passed: bool = True
    figures: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def to_record(behaviour: Iterable[Check]) -> dict[str, dict[str, Any]]:
    """Return behaviour tests in the form for JSON: by name, `passed` and the figures."""
    return {check.name: {"passed": check.passed, **check.figures} for check in behaviour}


def from_record(record: Mapping[str, Mapping[str, Any]]) -> list[Check]:
    """Return the behaviour tests of a record, in the order in which they are shown."""
    return [
        Check(
            name=name,
            passed=record[name]["passed"],
            figures={key: value for key, value in record[name].items() if key != "passed"},
        )
        for name in (FLIPS, BRIGHTNESS, EMPTY, BATCH)
        if name in record
    ]
