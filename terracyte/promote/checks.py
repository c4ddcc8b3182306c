"""What a candidate is checked for; `wording` alone turns a check into a sentence."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

# Why there is no comparison with the recorded champion. These only tell, and are always passed.
CHAMPION_LOST, OTHER_CHAMPION, NO_CHAMPION = "champion_lost", "other_champion", "no_champion"
OTHER_CLASSES, OTHER_SHAPE, NO_COMMON_IMAGE = "other_classes", "other_shape", "no_common_image"

# Of the comparison with the champion.
BETTER, CLASS_DROP = "better", "class_drop"

# Of the model's behaviour.
FLIPS, BRIGHTNESS, EMPTY, BATCH = "flips", "brightness", "empty_image", "batch_of_one"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that a candidate was checked for.

    Attributes:
        name: one of the names above.
        passed: whether it speaks for the candidate.
        figures: what was found, and the bound that it was held against.
    """

    name: str
    passed: bool = True
    figures: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def to_record(behaviour: Iterable[Check]) -> dict[str, dict[str, Any]]:
    """Behaviour tests as JSON holds them: by name, `passed` and the figures."""
    return {check.name: {"passed": check.passed, **check.figures} for check in behaviour}


def from_record(record: Mapping[str, Mapping[str, Any]]) -> list[Check]:
    """The behaviour tests of a record, in the order in which people read them."""
    return [
        Check(
            name=name,
            passed=record[name]["passed"],
            figures={key: value for key, value in record[name].items() if key != "passed"},
        )
        for name in (FLIPS, BRIGHTNESS, EMPTY, BATCH)
        if name in record
    ]
