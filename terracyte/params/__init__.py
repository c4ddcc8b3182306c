"""params.yaml → frozen dataclasses; the one place that reads it.

A block of params.yaml is a class here, a parameter a field: unknown, missing, mistyped and out-of-bounds
values are refused with one line before any work starts.
"""

import dataclasses
import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from terracyte.core import paths
from terracyte.core.errors import InputError
from terracyte.params import search_space
from terracyte.params.schema import build, check_keys, number
from terracyte.params.variant import Config

TASKS = ("blood", "mars")

_ADDRESS = re.compile(r"auto|(ray://)?[\w.\-\[\]:]+:\d+")  # of a Ray cluster

_TUNED = "tuned"  # stands in a variant's `change`, since that is what DVC watches, but is no key of a reference


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """Where a task's images come from, and what they must look like.

    Attributes:
        source: sample (drawn), challenge (the original .npz), folder (jpg/png), medmnist (download).
        path: what the source reads: a recipe, a file or a folder.
        classes: class names in the order of their labels.
        height, width, channels: of the raw images, in pixels; folders are resized to it.
        unreadable: folder only: skip unreadable files with a warning, or refuse them.
        download_size: medmnist only: edge length of the offered images, in pixels.
        group_column: folder only: name of a column of `groups.csv` (`file,<column>`) whose equal values
            never straddle two splits, such as a patient or a rover's site; null for none.
    """

    source: Literal["sample", "challenge", "folder", "medmnist"]
    path: str
    classes: tuple[str, ...]
    height: int = number(32, 4096)
    width: int = number(32, 4096)
    channels: Literal[1, 3] = 3
    unreadable: Literal["skip", "refuse"] = "refuse"
    download_size: Literal[64, 128, 224] = 128
    group_column: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Share:
    """Declared bounds of a class's share of the images (blood) or of the pixels (mars)."""

    low: float = number(0, 1)
    high: float = number(0, 1)

    def __post_init__(self) -> None:
        _check_order("validate.<task>.class_share", self.low, self.high)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Validate:
    """Recorded expectations; fatal ones need no parameter.

    Attributes:
        class_share: bounds that each class's share is expected to keep.
        brightness: lowest and highest expected mean grey value of an image, 0-255.
        contrast_low: lowest expected standard deviation of grey values, 0-255.
        repeats_high: an image content is expected at most this many times.
    """

    class_share: Share
    brightness: tuple[float, float] = number(0, 255)
    contrast_low: float = number(0, 255)
    repeats_high: int = number(1, 1_000_000)

    def __post_init__(self) -> None:
        _check_order("validate.<task>.brightness", *self.brightness)


def _check_order(where: str, low: float, high: float) -> None:
    if low > high:
        raise InputError(f"params.yaml: '{where}' is {low:g} to {high:g}; the lower bound must come first")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clean:
    """Rules of cleaning.

    Attributes:
        repeated_image: an image content that occurs at least this often is an outlier as a whole.
        repeated_labels: so is one that occurs under at least this many labels (or masks).
        near_duplicate_bits: largest Hamming distance of the perceptual hashes (of 64 bits) of candidates for
            near duplicates; pictures with like colours are candidates at any distance.
        near_duplicate_correlation: smallest correlation of near duplicates, at their best small shift.
        near_duplicate_mask: smallest share of equal mask pixels of near duplicates; neighbouring frames of a
            rover that stands still differ in their masks. Tasks with masks only.
        repeated_mask: a mask with more than one class that occurs at least this often is suspicious; its
            images are outliers where they also share a part of their pixels.
        distance: an image is off the task's distribution if its colour histogram is at least this far
            (Hellinger, 0-1) from those of all but two other images.
    """

    repeated_image: int = number(2, 1_000_000)
    repeated_labels: int = number(2, 1000)
    near_duplicate_bits: int = number(0, 24)
    near_duplicate_correlation: float = number(0.5, 1)
    near_duplicate_mask: float = number(0, 1)
    repeated_mask: int = number(2, 1_000_000)
    distance: float = number(0, 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Balance:
    """Splits and weights.

    Attributes:
        validation, test: shares of the kept images, 0-0.4.
        seed: of the split.
        group_bits, group_correlation: as in `clean`, but looser and at any shift up to half the picture:
            images alike enough to share a group.
        weight_power: class weight = (mean frequency / class frequency) ** power; 0 is off, 1 full inverse.
        weight_cap: largest class weight relative to the smallest.
        rare_class: name of the class whose training images get `rare_repeats`; null for none.
        rare_repeats: how many times an epoch shows a training image with the rare class.
    """

    validation: float = number(0.02, 0.4)
    test: float = number(0.02, 0.4)
    seed: int = number(0, 2**31 - 1)
    group_bits: int = number(0, 24)
    group_correlation: float = number(0.2, 1)
    weight_power: float = number(0, 1)
    weight_cap: float = number(1, 1000)
    rare_class: str | None = None
    rare_repeats: int = number(1, 20, default=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Scoring of the test split.

    Attributes:
        bootstrap: resamples of the interval.
        confidence: of the interval.
        seed: of the resampling.
    """

    bootstrap: int = number(10, 100_000)
    confidence: float = number(0.5, 0.999)
    seed: int = number(0, 2**31 - 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Promote:
    """What a candidate must hold to become champion.

    Attributes:
        significance: it must be better than the champion with a p of the paired test below this.
        class_drop: no class's score may fall by more, 0-1.
        images: validation images on which its behaviour is tested, spread evenly.
        flip_agreement: smallest share of decisions that stay when an image is mirrored; the reference's `flip` says
            which mirrors keep the label.
        gain, offset: changes of brightness: grey values times 1 - gain and 1 + gain, minus and plus offset (of 255).
        brightness_agreement: smallest share of decisions that stay under them.
        rounding: largest difference of the logits of an image alone and within a batch.
        unfamiliar: share of the validation images that the champion calls unlike the training images.
    """

    significance: float = number(0.0001, 1)
    class_drop: float = number(0, 1)
    images: int = number(1, 100_000)
    flip_agreement: float = number(0, 1)
    gain: float = number(0, 0.5)
    offset: float = number(0, 128)
    brightness_agreement: float = number(0, 1)
    rounding: float = number(0, 1)
    unfamiliar: float = number(0, 0.5, default=0.01)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drift:
    """When incoming images count as unlike those before.

    Attributes:
        significance: of the tests together: how often images like those before are flagged all the same.
        distance: smallest difference that counts: of the two distribution functions, 0-1.
        examples: incoming images that the page shows.
    """

    significance: float = number(0.0001, 0.5)
    distance: float = number(0, 1)
    examples: int = number(1, 200)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """What the page shows.

    Attributes:
        examples: sample predictions per task.
        hardest: hardest test images per task.
        contact_sheet: images per sheet of removed images.
    """

    examples: int = number(1, 200)
    hardest: int = number(1, 200)
    contact_sheet: int = number(1, 400)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fetch:
    """Pretrained weights.

    Attributes:
        folder: where files put there by hand are looked for before anything is downloaded (downloads are kept in
            `data/downloads`, so that this folder changes by hand only: DVC watches it).
        timeout: in which a server must answer, in seconds.
    """

    folder: str
    timeout: float = number(0.1, 600)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compute:
    """Where work runs; no result depends on it but that of a search, on `workers`.

    Attributes:
        engine: local (this machine) or ray (a cluster): trials, the seeds of a training, and what `clean` computes of
            images.
        address: ray only: of the cluster: auto, HOST:PORT or ray://HOST:PORT; null for one on this machine that lasts
            as long as the run, unless RAY_ADDRESS names another.
        workers: trainings at a time. With one, the same inputs give the same search.
        cpus, gpus: ray only: what each training is given of its node's processors and GPUs.
        data_parallel: whether all devices that a training has share out each of its batches; see
            `terracyte.train.data_parallel`.
    """

    engine: Literal["local", "ray"] = "local"
    address: str | None = None
    workers: int = number(1, 1024, default=1)
    cpus: int = number(1, 1024, default=1)
    gpus: int = number(0, 64, default=0)
    data_parallel: bool = False

    def __post_init__(self) -> None:
        if self.address is not None and not _ADDRESS.fullmatch(self.address):
            raise InputError(
                f"'compute.address' is {self.address!r}; it must be auto, HOST:PORT, ray://HOST:PORT or null"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variant:
    """A row of the ablation table: the reference of its task with some keys changed.

    Attributes:
        task: blood or mars.
        title: what the row shows, in a few words.
        published: the original's score on its own hidden test set (0-1), or null.
        compared_with: the variant to which the table shows the difference; null for the row above.
        change: keys of the task's reference and their values here; `tuned: false` leaves out what `tune` found.
    """

    task: Literal["blood", "mars"]
    title: str
    published: float | None = None
    compared_with: str | None = None
    change: dict[str, object] = dataclasses.field(default_factory=dict)

    @property
    def tuned(self) -> bool:
        """Whether it takes the values that `tune` found for the reference's keys, but for those it changes."""
        return self.change.get(_TUNED, True) is not False

    @property
    def values(self) -> dict[str, object]:
        """The changed keys of the reference and their values."""
        return {key: value for key, value in self.change.items() if key != _TUNED}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Params:
    """All of params.yaml."""

    seeds: tuple[int, ...]
    data: dict[str, Source]
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

    def variants_of(self, task: str) -> dict[str, Variant]:
        """The task's variants in the order of the table."""
        return {name: variant for name, variant in self.variants.items() if variant.task == task}

    def compared_with(self, name: str) -> str | None:
        """The variant to which the difference of `name` is shown; None for the first row of a task."""
        names = list(self.variants_of(self.variants[name].task))
        return self.variants[name].compared_with or dict(itertools.pairwise(names[::-1])).get(name)

    def variant(self, name: str) -> Variant:
        """One variant.

        Raises:
            InputError: no variant has this name.
        """
        check_keys([name], self.variants, "variants")
        return self.variants[name]

    def config(self, name: str, tuned: Mapping[str, object] | None = None) -> Config:
        """Resolve a variant: reference ← tuned values ← change.

        Args:
            name: of the variant.
            tuned: what `tune` found, for variants that take it; None where it does not matter.

        Raises:
            InputError: the variant is unknown, or changes a key that its reference lacks.
        """
        variant = self.variant(name)
        reference = self.reference[variant.task]
        where = f"variants.{name}.change"
        check_keys(variant.values, reference, where)
        if variant.change.get(_TUNED, False) is not False:
            raise InputError(f"params.yaml: '{where}.{_TUNED}' can only be false: variants are tuned anyway")
        check_keys(tuned or {}, search_space.TUNABLE, f"tuned values of {variant.task}")
        found = (tuned or {}) if variant.tuned else {}
        return build(Config, {**reference, **found, **variant.values}, where)

    def trial(self, task: str, values: search_space.Values) -> Config:
        """Resolve a trial: reference ← change of the tuned variant ← change of all trials ← searched values."""
        tune = self.tune[task]
        resolved = {**self.reference[task], **self.variants[tune.variant].values, **tune.change, **values}
        return build(Config, resolved, f"tune.{task}")


def load(path: Path = paths.PARAMS) -> Params:
    """Read and check params.yaml, or that of a folder.

    Raises:
        InputError: the file is missing or no YAML, or a parameter is unknown, missing, mistyped or out of bounds.
    """
    params = build(Params, read_yaml(path / paths.PARAMS if path.is_dir() else path), "")
    blocks = (params.data, params.validate, params.clean, params.balance, params.reference, params.tune, params.promote)
    for block in blocks:
        check_keys(block, TASKS, "a block per task")
        check_keys(TASKS, block, "a block per task")
    for task, reference in params.reference.items():
        build(Config, reference, f"reference.{task}")
    for name, variant in params.variants.items():
        params.config(name)
        if variant.compared_with is not None:
            others = params.variants_of(variant.task).keys() - {name}
            check_keys([variant.compared_with], others, f"variants.{name}.compared_with")
    for task, tune in params.tune.items():
        if tune.trials:
            check_keys([tune.variant], params.variants_of(task), f"tune.{task}.variant")
            tune.check(params.reference[task], params.variants[tune.variant].values, f"tune.{task}")
            params.trial(task, {})
    if not params.seeds or len(set(params.seeds)) < len(params.seeds) or min(params.seeds) < 0:
        raise InputError(f"params.yaml: 'seeds' is {list(params.seeds)}; it must list different numbers from 0 on")
    return params


def read_yaml(path: Path) -> Any:
    """Read a YAML file: this one or a source's recipe.

    Raises:
        InputError: the file is missing or no YAML.
    """
    try:
        return parse_yaml(path.read_text(encoding="utf-8"), path)
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing: run from the project's root folder") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not valid YAML: it is not UTF-8 text") from error


def parse_yaml(text: str, path: Path) -> Any:
    """Parse YAML that stands in the file `path`.

    Raises:
        InputError: it is no YAML.
    """
    # Imported here: `--help` and tests of pure code need no YAML.
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        raise InputError(f"{path}{where}: not valid YAML: {getattr(error, 'problem', None) or error}") from error
