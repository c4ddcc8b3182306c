"""The search space of tuning: bounds, choices and conditions of configuration keys, as declared in params.yaml."""

import dataclasses
from collections.abc import Mapping
from typing import Literal

from terracyte.core.errors import InputError
from terracyte.params.schema import check_keys, number

# Keys that a search may change: regularization, augmentation, loss and optimizer. The others (architecture and sizes,
# whatever decides which epoch is chosen) would make trials incomparable, or affect stages before `tune`.
TUNABLE = (
    *("input_dropout", "dropout", "l1", "l2", "label_smoothing", "overlap_weight"),
    *("rotation", "zoom", "brightness", "contrast", "saturation", "hue", "prime", "shading", "blur", "erasing"),
    *("policy", "policy_strength"),
    *("cutmix", "mixup", "weight_averaging"),
    *("optimizer", "learning_rate", "beta_1", "beta_2", "weight_decay", "schedule", "warmup", "fine_tune_rate"),
)

# The possible outcomes of a search: the reference's values stay, or the best trial's replace them.
REFERENCE, WINNER = "reference", "winner"

Values = Mapping[str, object]
Choice = str | int | float | bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dimension:
    """One key of a search space: a range, or a list of choices.

    Attributes:
        low, high: bounds of a range, both included.
        scale: scale on which a range is sampled uniformly.
        choices: the allowed values, in place of a range.
        when: key listed earlier in the space → the values of it with which this dimension is searched; with other
            values the dimension keeps the reference's value.
    """

    low: float | None = number(-1e9, 1e9, default=None)
    high: float | None = number(-1e9, 1e9, default=None)
    scale: Literal["linear", "log"] = "linear"
    choices: tuple[Choice, ...] | None = None
    when: dict[str, tuple[Choice, ...]] = dataclasses.field(default_factory=dict)

    def holds(self, value: object) -> bool:
        """Return whether the dimension can take the value."""
        if self.choices is not None:
            return value in self.choices
        low, high = self.bounds
        return isinstance(value, int | float) and low <= value <= high

    def matters(self, values: Values) -> bool:
        """Return whether the dimension is searched, given the values of the keys before it."""
        return all(values.get(key) in allowed for key, allowed in self.when.items())

    @property
    def bounds(self) -> tuple[float, float]:
        """The bounds (low, high) of a range."""
        assert self.low is not None
        assert self.high is not None
        return self.low, self.high

    def declared(self) -> dict[str, object]:
        """Return the fields that apply to the dimension, as declared in params.yaml."""
        given = {name: value for name, value in dataclasses.asdict(self).items() if value not in (None, {})}
        return {name: value for name, value in given.items() if name != "scale" or self.choices is None}

    def __str__(self) -> str:
        return str(list(self.choices)) if self.choices is not None else f"{self.low:g} to {self.high:g}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tune:
    """The search for better values of a task's reference.

    Attributes:
        variant: the variant whose network and data the trials are trained with; not needed without trials.
        trials: largest number of trials, including the reference's; 0 for no search.
        minutes: time after which no further trial begins; null for no limit.
        seed: seed of the search and of each trial's training; confirmation uses the seeds after it.
        share: share of the training images that trials are trained on, 0-1.
        pruner: rule that ends hopeless trials early: median (worse than the median of the others at the same epoch),
            hyperband (arXiv 1603.06560), or none.
        confirm: number of fresh seeds with which the reference and the best trial's values are trained again; the
            values are adopted only if their mean validation score is better.
        change: keys of the reference with their values in every trial, such as fewer epochs.
        space: the searched dimensions, by key.
    """

    variant: str = ""
    trials: int = number(0, 100_000, default=0)
    minutes: float | None = number(0.01, 100_000, default=None)
    seed: int = number(0, 2**31 - 1000, default=0)
    share: float = number(0.01, 1, default=1.0)
    pruner: Literal["median", "hyperband", "none"] = "median"
    confirm: int = number(1, 100, default=2)
    change: dict[str, object] = dataclasses.field(default_factory=dict)
    space: dict[str, Dimension] = dataclasses.field(default_factory=dict)

    def check(self, reference: Values, fixed: Values, where: str) -> None:
        """Refuse a search that cannot be run.

        Args:
            reference: the task's reference.
            fixed: the change of the tuned variant.
            where: dotted path of the search in params.yaml.

        Raises:
            InputError: the space is empty; a key is unknown, must not be searched, or is fixed already; or a dimension
                is neither a range nor choices, excludes the reference's value, or depends on a key not listed before.
        """
        check_keys(self.change, reference, f"{where}.change")
        check_keys(self.space, TUNABLE, f"{where}.space")
        if not self.space:
            raise InputError(f"'{where}.space' is empty: list keys to search, or set {where}.trials to 0")
        fixed = {**fixed, **self.change}
        before: list[str] = []
        for key, dimension in self.space.items():
            place = f"{where}.space.{key}"
            _check_form(dimension, place)
            for other in sorted(dimension.when.keys() & self.space.keys() - {key, *before}):
                raise InputError(f"'{place}.when' depends on '{other}': list '{other}' above '{key}'")
            check_keys(dimension.when, before, f"{place}.when")
            _check_when(dimension, self.space, place)
            if key in fixed:
                raise InputError(
                    f"'{place}' is searched, but variants.{self.variant}.change or {where}.change fixes "
                    f"it at {fixed[key]!r}: remove it from one of the two"
                )
            if key not in reference:
                raise InputError(f"'{place}' is searched, but the reference has no '{key}': add its value there")
            if not dimension.holds(reference[key]):
                raise InputError(
                    f"'{place}' is {dimension}, which excludes the reference's {reference[key]!r}: "
                    "include it, as the first trial is the reference"
                )
            before.append(key)


def _check_when(dimension: Dimension, space: Mapping[str, Dimension], place: str) -> None:
    for key, values in dimension.when.items():
        for value in values:
            if not space[key].holds(value):
                raise InputError(
                    f"'{place}.when.{key}' has {value!r}, which is not in the search space of '{key}': correct it"
                )


def _check_form(dimension: Dimension, place: str) -> None:
    is_range = dimension.low is not None and dimension.high is not None
    if is_range == (dimension.choices is not None):
        raise InputError(f"'{place}' must have either low and high, or choices")
    if dimension.choices is not None:
        if len(set(map(repr, dimension.choices))) < max(2, len(dimension.choices)):
            raise InputError(f"'{place}.choices' is {dimension}; it must list two or more values, each only once")
        return
    low, high = dimension.bounds
    if low >= high:
        raise InputError(f"'{place}' is {dimension}; low must be below high")
    if dimension.scale == "log" and low <= 0:
        raise InputError(f"'{place}.low' is {low:g}; on a log scale it must be above 0")
