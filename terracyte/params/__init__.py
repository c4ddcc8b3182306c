"""Reads params.yaml and experiment.yaml into frozen dataclasses; the one place that does.

Each block of params.yaml is a class and each parameter a field. Unknown, missing, mistyped and out-of-bounds values
are refused with a one-line message before any work starts.
"""

import dataclasses
import itertools
import re
from collections.abc import Mapping
from pathlib import Path

import terracyte
from terracyte.core import paths
from terracyte.core.errors import InputError
from terracyte.params import search_space
from terracyte.params.blocks import (
    Balance,
    Clean,
    Compute,
    Drift,
    Evaluate,
    Fetch,
    Promote,
    Report,
    Share,
    TaskSpec,
    Validate,
)
from terracyte.params.experiment import Experiment, MaskValue, Source, overridden, values_of
from terracyte.params.schema import build, check_keys, check_value, naming
from terracyte.params.variant import Config, Variant
from terracyte.params.yaml_files import parse_yaml, read_yaml

__all__ = [
    "Balance",
    "Clean",
    "Compute",
    "Config",
    "Drift",
    "Evaluate",
    "Experiment",
    "MaskValue",
    "Params",
    "Promote",
    "Share",
    "Source",
    "TaskSpec",
    "Validate",
    "Variant",
    "load",
    "parse_yaml",
    "read_yaml",
    "values_of",
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Blocks:
    """All of params.yaml."""

    seeds: tuple[int, ...]
    tasks: dict[str, TaskSpec]
    validate: dict[str, Validate]
    clean: dict[str, Clean]
    balance: dict[str, Balance]
    fetch: Fetch
    compute: Compute
    tune: dict[str, search_space.Tune]
    evaluate: Evaluate
    promote: dict[str, Promote]
    report: Report
    drift: Drift
    reference: dict[str, dict[str, object]]
    variants: dict[str, Variant]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Params(_Blocks):
    """params.yaml with the experiment's overrides applied, and the experiment itself."""

    experiment: Experiment

    @property
    def task_names(self) -> tuple[str, ...]:
        """The experiment's tasks, which are those with a source."""
        return tuple(self.experiment.sources)

    def rows_of(self, task: str) -> dict[str, Variant]:
        """Return the task's rows: variants by name, in the order of the table.

        Raises:
            InputError: the experiment has no such task.
        """
        check_keys([task], self.task_names, "sources", "experiment.yaml")
        return {name: self.variants[name] for name, of in self.experiment.rows.items() if of == task}

    def row(self, name: str) -> Variant:
        """Return the variant of one row.

        Raises:
            InputError: the experiment has no such row.
        """
        check_keys([name], self.experiment.rows, "rows", "experiment.yaml")
        return self.variants[name]

    def compared_with(self, name: str) -> str | None:
        """Return the row that `name` is compared with; None for a task's first row if its variant names no other."""
        names = list(self.rows_of(self.variants[name].task))
        return self.variants[name].compared_with or dict(itertools.pairwise(names[::-1])).get(name)

    def seeds_of(self, name: str) -> tuple[int, ...]:
        """Return a variant's training seeds: its own, else one per fold if it has `folds`, else the common `seeds`."""
        variant = self.variants[name]
        folds = self.balance[variant.task].folds if self.config(name).folds else 0
        return variant.seeds or tuple(range(folds)) or self.seeds

    def members(self, name: str) -> tuple[int | None, ...]:
        """Return the numbers of a variant's members; (None,) without members: then only the trainings' seeds differ."""
        return tuple(range(len(self.variants[name].members))) or (None,)

    def change(self, name: str, member: int | None = None) -> dict[str, object]:
        """Return the keys that a variant changes in its task's reference, with their values, including those inherited
        through `like` and, if `member` is given, those of that member."""
        variant = self.variants[name]
        own = variant.change if member is None else {**variant.change, **variant.members[member]}
        return {**(self.change(variant.like) if variant.like else {}), **own}

    def config(self, name: str, tuned: Mapping[str, object] | None = None, member: int | None = None) -> Config:
        """Resolve a variant: reference ← tuned values ← change ← the member's change.

        Args:
            name: the variant's name.
            tuned: the values that `tune` found, ignored by variants with `tuned: false`; None to leave them out.
            member: number of the member whose change is added; None for no member.

        Raises:
            InputError: the variant is unknown, or changes a key that its reference lacks.
        """
        check_keys([name], self.variants, "variants", "params.yaml")
        variant, change = self.variants[name], self.change(name, member)
        reference = self.reference[variant.task]
        takes_tuned = change.pop("tuned", None)
        where = f"variants.{name}.change"
        if takes_tuned not in (None, False):
            raise InputError(f"'{where}.tuned' must be false or left out: variants use the tuned values by default")
        if member is not None:
            where = f"variants.{name}.members[{member}]"
        check_keys(change, reference, where)
        check_keys(tuned or {}, search_space.TUNABLE, f"tuned values of {variant.task}")
        found = (tuned or {}) if takes_tuned is None else {}
        return build(Config, {**reference, **found, **change}, where)

    def trial(self, task: str, values: search_space.Values) -> Config:
        """Resolve a trial: reference ← the tuned variant's change ← change of all trials ← searched values."""
        tune = self.tune[task]
        fixed = {key: value for key, value in self.change(tune.variant).items() if key != "tuned"}
        return build(Config, {**self.reference[task], **fixed, **tune.change, **values}, f"tune.{task}")


def load(folder: Path = Path()) -> Params:
    """Read and check an experiment's params.yaml and experiment.yaml.

    Args:
        folder: the experiment's folder.

    Raises:
        InputError: a file is missing or not YAML, a parameter is unknown, missing, mistyped or out of bounds, or the
            running code is not the experiment's.
    """
    blocks = read_yaml(folder / paths.PARAMS)
    experiment = build(Experiment, read_yaml(folder / paths.EXPERIMENT), "", "experiment.yaml")
    _check_code(folder / experiment.root)
    with naming("params.yaml"):
        params = _checked(blocks, experiment)
    with naming("experiment.yaml"):
        if experiment.override:
            params = _checked(overridden(blocks, experiment.override), experiment)
        _check_experiment(params)
    return params


def _check_code(root: Path) -> None:
    """Require that the running code is the root's, which DVC hashes, not that of a clone sharing the environment."""
    own, imported = root / "terracyte/__init__.py", Path(terracyte.__file__)
    if own.exists() and not own.samefile(imported):
        raise InputError(
            f"Python imports {imported.parent}, but the experiment's code is {own.resolve().parent}: run "
            f"`pip install -e {root.resolve()}` in a separate environment, or set PYTHONPATH={root.resolve()}"
        )


def _checked(content: object, experiment: Experiment) -> Params:
    blocks = build(_Blocks, content, "")
    params = Params(**vars(blocks), experiment=experiment)
    _check_tasks(params)
    for task, reference in params.reference.items():
        build(Config, reference, f"reference.{task}")
    for name, variant in params.variants.items():
        _check_variant(params, name, variant)
    for task, tune in params.tune.items():
        if tune.trials:
            if not tune.variant:
                raise InputError(
                    f"'tune.{task}.variant' is missing, but 'trials' is {tune.trials}: name a variant to train"
                )
            check_value(tune.variant, _variants_of(params, task), f"tune.{task}.variant")
            tune.check(params.reference[task], params.change(tune.variant), f"tune.{task}")
            params.trial(task, {})
            for key, dimension in tune.space.items():
                for value in dimension.choices or dimension.bounds:
                    build(Config, {**params.reference[task], key: value}, f"tune.{task}.space")
    _check_seeds(params.seeds, "seeds")
    return params


_NAME = re.compile(r"[^\W_][\w+-]*")  # a dot separates names in DVC's parameters and in `override`
_MAY_BE_EMPTY = ("validate", "clean", "balance", "tune", "promote")


def _check_tasks(params: Params) -> None:
    """Check names, and that each per-task block has exactly one entry per task."""
    for name in (*params.tasks, *params.variants):
        if not _NAME.fullmatch(name):
            raise InputError(
                f"a task or variant is called {name!r}; use letters, digits and _ + -, a letter or digit first"
            )
    for name in (*_MAY_BE_EMPTY, "reference"):
        check_keys(getattr(params, name), params.tasks, name)
        for task in params.tasks:
            if task not in getattr(params, name):
                hint = " (`{}` takes the defaults)" if name in _MAY_BE_EMPTY else ""
                raise InputError(f"'{name}.{task}' is missing; add it{hint}")


def _check_variant(params: Params, name: str, variant: Variant) -> None:
    check_value(variant.task, params.tasks, f"variants.{name}.task")
    others = [other for other in _variants_of(params, variant.task) if other != name]
    for key, other in (("like", variant.like), ("compared_with", variant.compared_with)):
        if other is not None:
            check_value(other, others, f"variants.{name}.{key}")
    _check_likeness(params, name)
    if variant.seeds is not None:
        _check_seeds(variant.seeds, f"variants.{name}.seeds")
    for member in params.members(name):
        params.config(name, member=member)
        if member is not None and "folds" in variant.members[member]:
            raise InputError(
                f"'variants.{name}.members[{member}].folds' is not allowed: set it for all members, in 'change'"
            )


def _check_likeness(params: Params, name: str) -> None:
    chain = [name]
    while (like := params.variants[chain[-1]].like) is not None:
        if like in chain:
            raise InputError(f"'variants.{name}.like' is circular: {' → '.join([*chain, like])}; remove one of them")
        check_value(like, params.variants, f"variants.{chain[-1]}.like")
        chain.append(like)


def _check_seeds(seeds: tuple[int, ...], where: str) -> None:
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0 or max(seeds) >= 2**31:
        raise InputError(f"'{where}' is {list(seeds)}; it must list different whole numbers from 0 to 2**31 - 1")


def _check_experiment(params: Params) -> None:
    """Check that params.yaml declares the experiment's tasks and rows, and that they fit together."""
    experiment = params.experiment
    _check_sources(params)
    check_keys(experiment.rows, params.variants, "rows")
    for name, task in experiment.rows.items():
        if task != params.variants[name].task:
            raise InputError(f"'rows.{name}' is {task!r}, but the variant's task is {params.variants[name].task!r}")
        if task not in experiment.sources:
            raise InputError(f"'rows.{name}' needs 'sources.{task}', which is missing: add it, or remove the row")
        if params.config(name).folds and not params.balance[task].folds:
            where = f"balance.{task}.folds"
            raise InputError(
                f"row {name} has 'folds', but '{where}' of params.yaml is 0: set it to 5, say, or remove 'folds' from "
                "the variant"
            )
        boosted = any(params.config(name, member=each).rare_class_boost for each in params.members(name))
        if boosted and params.balance[task].rare_class is None:
            raise InputError(
                f"row {name} has 'rare_class_boost', but 'balance.{task}.rare_class' of params.yaml is null: name a "
                "class, or remove 'rare_class_boost' from the variant"
            )
        other = params.variants[name].compared_with
        if other is not None and other not in experiment.rows:
            raise InputError(
                f"'rows.{name}' is compared with {other}, which is not in 'rows': add it, or remove this row"
            )


def _check_sources(params: Params) -> None:
    check_keys(params.experiment.sources, params.tasks, "sources")
    for task, source in params.experiment.sources.items():
        source.require_kind(task, params.tasks[task].kind)
        if task not in params.experiment.rows.values():
            raise InputError(f"'rows' has no row for task {task}: add one, or remove 'sources.{task}'")


def _variants_of(params: Params, task: str) -> list[str]:
    return [name for name, variant in params.variants.items() if variant.task == task]
