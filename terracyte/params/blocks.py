"""The blocks of params.yaml, except tuning, references and variants, as frozen dataclasses: a parameter is a field."""

import dataclasses
import re
from typing import Literal

from terracyte.core.errors import InputError
from terracyte.params.schema import left_open, measured, number

Corruption = Literal[
    "brightness_up",
    "brightness_down",
    "contrast_up",
    "contrast_down",
    "saturation",
    "defocus_blur",
    "motion_blur",
    "noise",
    "pixelation",
    "jpeg",
    "stain",
]

_OF_COLOURS = ("saturation", "stain")  # grey images have neither saturation nor dye
_MOVING_CONTOURS = ("pixelation",)  # contours move to the borders of its squares, and no longer match the mask
_ADDRESS = re.compile(r"auto|(ray://)?[\w.\-\[\]:]+:\d+")  # of a Ray cluster


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """A task's declaration.

    Attributes:
        kind: classification (a class for each image) or segmentation (a class for each pixel).
        classes: class names in the order of their labels.
        height, width, channels: size of the raw images in pixels, and their channels; other pictures are resized.
        background: name of the class that is neither scored nor predicted; null scores all. Segmentation only.
        corruptions: names of the corruptions under which models are also scored; see `images.shift.corruptions`.
            Colour corruptions need 3 channels; in segmentation, corruptions that move contours are refused.
        pixel_range: for grey pictures with more than 8 bits, and arrays of another type than uint8: the values that
            become 0 and 255; values beyond them are clipped. Null refuses such pictures, and arrays beyond 0-255.
        transparent: refuse pictures with transparent pixels, or flatten them onto white.
        fit: how pictures with another aspect ratio become the task's size: stretch distorts them; pad adds bars of the
            picture's mean colour, which count as background; crop keeps the middle.
    """

    kind: Literal["classification", "segmentation"]
    classes: tuple[str, ...]
    height: int = number(32, 4096)
    width: int = number(32, 4096)
    channels: Literal[1, 3] = 3
    background: str | None = None
    corruptions: tuple[Corruption, ...] = ()
    pixel_range: tuple[float, float] | None = None
    transparent: Literal["refuse", "flatten"] = "refuse"
    fit: Literal["stretch", "pad", "crop"] = "stretch"

    def __post_init__(self) -> None:
        if self.pixel_range is not None and not self.pixel_range[0] < self.pixel_range[1]:
            raise InputError(f"'tasks.<task>.pixel_range' is {list(self.pixel_range)}; the lower end must come first")
        if len(set(self.classes)) < len(self.classes):
            raise InputError(f"'tasks.<task>.classes' is {list(self.classes)}; each name must appear only once")
        self._check_names()
        if self.background is not None and self.background not in self.classes:
            raise InputError(f"'tasks.<task>.background' is {self.background!r}, which is not one of the classes")
        if self.background is not None and self.kind == "classification":
            raise InputError("'tasks.<task>.background' is only for segmentation; leave it out")
        self._check_corruptions()
        if self.fit == "pad" and self.kind == "segmentation" and self.background is None:
            raise InputError(
                "'tasks.<task>.fit' is 'pad', but the bars that it adds need a class: name one as 'background', "
                "which is never scored, or use 'crop' or 'stretch'"
            )
        if len(self.classes) - (self.background is not None) < 2:
            raise InputError(
                f"'tasks.<task>.classes' is {list(self.classes)}: at least two must be scored; "
                "with `background: null` all are"
            )

    def _check_names(self) -> None:
        if self.kind == "segmentation" and len(self.classes) > 256:
            raise InputError(f"'tasks.<task>.classes' has {len(self.classes)} names; masks hold 256 at most")
        columns = dict[str, str]()
        for name in self.classes:
            if "|" in name or not name.isprintable() or not name.strip():
                raise InputError(
                    f"'tasks.<task>.classes' has {name!r}: names must be printable, not blank, without '|'"
                )
            other = columns.setdefault(name.replace(" ", "_"), name)
            if other != name:
                raise InputError(
                    f"'tasks.<task>.classes' has {other!r} and {name!r}, which are one column in tables: rename one"
                )

    def _check_corruptions(self) -> None:
        names = self.corruptions
        if len(set(names)) < len(names):
            raise InputError(f"'tasks.<task>.corruptions' is {list(names)}; each name must appear only once")
        for name in names:
            if name in _OF_COLOURS and self.channels == 1:
                raise InputError(f"'tasks.<task>.corruptions' has '{name}', which needs 3 channels; leave it out")
            if name in _MOVING_CONTOURS and self.kind == "segmentation":
                raise InputError(
                    f"'tasks.<task>.corruptions' has '{name}', which moves contours away from those of the masks; "
                    "leave it out"
                )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Share:
    """Declared bounds of a class's share of the images (in segmentation, of the pixels)."""

    low: float = number(0, 1)
    high: float = number(0, 1)

    def __post_init__(self) -> None:
        _check_order("validate.<task>.class_share", self.low, self.high)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Validate:
    """Recorded expectations (fatal ones have no parameters). Omitted values are measured on the images, or constant.

    Attributes:
        class_share: expected bounds of each class's share.
        brightness: lowest and highest expected mean grey value of an image, 0-255.
        contrast_low: lowest expected standard deviation of an image's grey values, 0-255.
        repeats_high: how often the same image content is expected to occur at most; for tasks with masks, also a mask.
    """

    class_share: Share = measured()  # noqa: RUF009  # it makes a field
    brightness: tuple[float, float] = measured(0, 255)
    contrast_low: float = measured(0, 255)
    repeats_high: int = number(1, 1_000_000, default=1)

    def __post_init__(self) -> None:
        if "brightness" not in left_open(self):
            _check_order("validate.<task>.brightness", *self.brightness)


def _check_order(where: str, low: float, high: float) -> None:
    if low > high:
        raise InputError(f"'{where}' is {low:g} to {high:g}; the lower bound must come first")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clean:
    """Thresholds of the cleaning rules. Omitted values are measured on the images, or constant.

    Attributes:
        repeated_image: if an image content occurs at least this often, all its copies are dropped.
        repeated_labels: if an image content occurs under at least this many labels (or masks), all its copies are
            dropped.
        near_duplicate_bits: largest Hamming distance between the 64-bit perceptual hashes of candidates for near
            duplicates; images with similar colour histograms are candidates at any distance.
        near_duplicate_correlation: smallest correlation of near duplicates, at their best small shift.
        near_duplicate_mask: smallest share of equal mask pixels of near duplicates; neighbouring frames of a
            stationary rover differ in their masks. Tasks with masks only.
        repeated_mask: a mask with more than one class that occurs at least this often is suspicious; those of its
            images that also share an overlay of pixels are dropped.
        distance: an image is off the task's distribution if its colour histogram is at least this far
            (Hellinger, 0-1) from those of all but two other images.
    """

    repeated_image: int = number(2, 1_000_000, default=10)
    repeated_labels: int = number(2, 1000, default=3)
    near_duplicate_bits: int = number(0, 24, default=11)
    near_duplicate_correlation: float = measured(0.5, 1)
    near_duplicate_mask: float = number(0, 1, default=0.99)
    repeated_mask: int = number(2, 1_000_000, default=10)
    distance: float = measured(0, 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Balance:
    """Splits and weights. Omitted values are measured on the images, or constant.

    Attributes:
        validation, test: shares of the kept images, 0.02-0.4; if a given split lacks one of the two, the share of the
            given training images that is cut off for it.
        seed: seed of the split.
        split: keep the split that the source gives (given), or make a new one (own); no effect if the source gives
            none.
        folds: number of folds of the training and validation images, for rows with `folds`; 0 for none, else 2 or more.
        group_bits, group_correlation: like `clean`'s near-duplicate thresholds, but usually looser, and at any shift up
            to half the picture: images that pass share a group.
        weight_power: class weight = (mean frequency / class frequency) ** power; 0 is off, 1 full inverse.
        weight_cap: largest class weight relative to the smallest.
        rare_class: name of the class whose training images are repeated; null for none.
        rare_repeats: how often an epoch shows each training image with the rare class, in rows with `rare_class_boost`.
    """

    validation: float = number(0.02, 0.4, default=0.15)
    test: float = number(0.02, 0.4, default=0.15)
    seed: int = number(0, 2**31 - 1, default=0)
    split: Literal["given", "own"] = "given"
    folds: int = number(0, 20, default=0)
    group_bits: int = number(0, 24, default=11)
    group_correlation: float = measured(0.2, 1)
    weight_power: float = number(0, 1, default=0.5)
    weight_cap: float = number(1, 1000, default=10.0)
    rare_class: str | None = None
    rare_repeats: int = number(1, 20, default=1)

    def __post_init__(self) -> None:
        if self.folds == 1:
            raise InputError(
                "'balance.<task>.folds' is 1, which leaves nothing to learn from; take 0 for none, or 2 to 20"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Scoring of the test split.

    Attributes:
        bootstrap: number of bootstrap resamples for intervals, and of permutations for p values.
        confidence: confidence level of the intervals.
        seed: seed of the resampling.
    """

    bootstrap: int = number(10, 100_000)
    confidence: float = number(0.5, 0.999)
    seed: int = number(0, 2**31 - 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Promote:
    """Conditions that a candidate must meet to become champion.

    Attributes:
        significance: the candidate must beat the champion with a p value of the paired test below this.
        class_drop: largest allowed drop of any class's score, 0-1.
        images: number of validation images, evenly spread over the split, for the behaviour tests.
        flip_agreement: smallest share of decisions that must not change when an image is mirrored; the reference's
            `flip` says which mirrors keep the label.
        gain, offset: brightness changes: grey values times 1 - gain and 1 + gain, minus and plus offset (of 255).
        brightness_agreement: smallest share of decisions that must not change under these brightness changes.
        rounding: largest allowed difference between an image's logits alone and in a batch.
        unfamiliar: share of the validation images that the champion's novelty threshold flags as unfamiliar.
    """

    significance: float = number(0.0001, 1, default=0.05)
    class_drop: float = number(0, 1, default=0.05)
    images: int = number(1, 100_000, default=64)
    flip_agreement: float = number(0, 1, default=0.9)
    gain: float = number(0, 0.5, default=0.05)
    offset: float = number(0, 128, default=5.0)
    brightness_agreement: float = number(0, 1, default=0.9)
    rounding: float = number(0, 1, default=0.001)
    unfamiliar: float = number(0, 0.5, default=0.01)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drift:
    """When incoming images count as drifted from the training images.

    Attributes:
        significance: significance level of all tests together: how often undrifted images are flagged by chance.
        distance: smallest Kolmogorov-Smirnov distance (between two distribution functions, 0-1) that counts as drift.
        examples: number of incoming images that the page shows, and of training images beside them.
    """

    significance: float = number(0.0001, 0.5)
    distance: float = number(0, 1)
    examples: int = number(1, 200)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """How much the report page shows.

    Attributes:
        examples: number of sample predictions per task.
        hardest: number of hardest test images per task.
        contact_sheet: number of images per contact sheet of removed images.
    """

    examples: int = number(1, 200)
    hardest: int = number(1, 200)
    contact_sheet: int = number(1, 400)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fetch:
    """Download of pretrained weights; the folder `weights` of experiment.yaml is searched first.

    Attributes:
        timeout: time within which a server must answer, in seconds.
    """

    timeout: float = number(0.1, 600)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compute:
    """Where work runs. Apart from rounding, no result depends on it, except that a search's depends on `workers`.

    Attributes:
        engine: where trials, the seeds of a training, and the image computations of `ingest` and `clean` run: local
            (this machine) or ray (a cluster).
        address: ray only: the cluster's address: auto, HOST:PORT or ray://HOST:PORT; null starts a cluster on this
            machine for the duration of the run, unless RAY_ADDRESS names one.
        workers: number of simultaneous trainings; auto runs one per core (on Ray, as many as the cluster has `cpus` and
            `gpus` for), but only one trial of a search. With one trial at a time, the same inputs give the same search.
        cpus, gpus: ray only: number of processors and GPUs of its node that each training is given.
        data_parallel: whether to split each batch among all devices of a training; see
            `terracyte.train.data_parallel`.
    """

    engine: Literal["local", "ray"] = "local"
    address: str | None = None
    workers: int | Literal["auto"] = number(1, 1024, default="auto")
    cpus: int = number(1, 1024, default=1)
    gpus: int = number(0, 64, default=0)
    data_parallel: bool = False

    @property
    def trials(self) -> int:
        """The number of trials of a search that run simultaneously."""
        return 1 if self.workers == "auto" else self.workers

    def __post_init__(self) -> None:
        if self.address is not None and not _ADDRESS.fullmatch(self.address):
            raise InputError(
                f"'compute.address' is {self.address!r}; it must be auto, HOST:PORT, ray://HOST:PORT or null"
            )
