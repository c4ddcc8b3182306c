"""experiment.yaml: where an experiment's images come from, which rows it has, and what it overrides in params.yaml."""

import copy
import dataclasses
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Literal

from terracyte.core.errors import InputError
from terracyte.params.schema import check_keys

# Blocks that only `fetch` and later stages read. The earlier stages' blocks are the same in all experiments of one
# params.yaml, so a changed override makes DVC rerun none of those stages.
OVERRIDABLE = ("seeds", "reference", "variants", "tune")

# Key → the sources that read it; every source reads `source` and `path`.
_READ_BY = {
    **dict.fromkeys(("unreadable", "split_column", "labels"), ("folder",)),
    **dict.fromkeys(("images", "masks", "masks_follow"), ("folder",)),
    **dict.fromkeys(("group_column", "class_of", "mask_values", "ignore", "snap_masks"), ("folder", "npz")),
    "download_size": ("medmnist",),
}
# Key → the only kind of task that it concerns.
_OF_KIND = {
    "class_of": "classification",
    **dict.fromkeys(("images", "masks", "mask_values", "ignore", "snap_masks", "masks_follow"), "segmentation"),
}

MaskValue = int | tuple[int, int, int]
"""The value of a class in masks: a number, or a colour (red, green, blue)."""

MaskValues = int | tuple[int, ...] | tuple[tuple[int, ...], ...]
"""One or several values of a class, as experiment.yaml writes them; see `values_of`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """Where a task's images come from.

    Attributes:
        source: sample (drawn), challenge (the original .npz), folder (pictures), npz (arrays of any .npz file),
            medmnist (download).
        path: the recipe, file or folder that the source reads, relative to the experiment's folder.
        unreadable: folder only: skip files that are unreadable or lack their image or mask, with a warning, or refuse
            them.
        download_size: medmnist only: which of the offered image sizes to download: edge length in pixels.
        group_column: folder: name of a column of `groups.csv` (`file,<column>`), or of `labels`; npz: name of an array;
            images with equal values in it, such as a patient or a rover's site, never end up in different splits; null
            for none.
        split_column: folder only: name of a column of `splits.csv` (`file,<column>`), or of `labels`, with each image's
            given split; null for no given split, or where folders named train, val and test give it.
        labels: folder only: name of a CSV file (`file,label`) in the folder; null where each class has a subfolder.
        images, masks: folder only: subfolders with the images and with the masks, for tasks with masks.
        class_of: folder and npz: a subfolder's name, or a label in `labels` or in an array → its class. Several names
            may mean one class; null leaves the images out. Names that are not listed must be those of classes.
        mask_values: folder and npz: class → the value of its pixels in masks: a number (the index, with a palette), a
            colour [red, green, blue], 0-255, or several values of one kind; see `values_of`. If left out, masks hold
            class numbers in the order of params.yaml.
        ignore: folder and npz: the value of unlabelled pixels in masks; these pixels become the background.
        snap_masks: folder and npz: replace other values in masks by the nearest of `mask_values`, as JPEG masks need.
        masks_follow: folder only: whether masks match the image's pixels as stored, or the upright image, if EXIF
            rotates the image and neither the sizes nor the mask's own EXIF decide; null refuses such images.
    """

    source: Literal["sample", "challenge", "folder", "npz", "medmnist"]
    path: str
    unreadable: Literal["skip", "refuse"] = "refuse"
    download_size: Literal[64, 128, 224] = 128
    group_column: str | None = None
    split_column: str | None = None
    labels: str | None = None
    images: str = "images"
    masks: str = "masks"
    class_of: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    mask_values: Mapping[str, MaskValues] = dataclasses.field(default_factory=dict)
    ignore: MaskValue | None = None
    snap_masks: bool = False
    masks_follow: Literal["stored", "upright"] | None = None

    def require_kind(self, task: str, kind: str) -> None:
        """Refuse keys that the source of a task of another kind would ignore.

        Raises:
            InputError: there is one.
        """
        for key in self._given():
            if _OF_KIND.get(key, kind) != kind:
                raise InputError(
                    f"'sources.{task}.{key}' applies only to {_OF_KIND[key]}, but 'tasks.{task}.kind' is {kind}: "
                    "remove the key"
                )
        if kind == "segmentation" and self.labels and not (self.group_column or self.split_column):
            raise InputError(
                f"'sources.{task}.labels' is read in segmentation only for 'group_column' or 'split_column': add one "
                "of them, or remove the key"
            )

    def _given(self) -> list[str]:
        """Return the keys whose values are not the defaults."""
        return [
            field.name for field in dataclasses.fields(self) if getattr(self, field.name) not in (field.default, {})
        ]

    def __post_init__(self) -> None:
        for key in self._given():
            readers = _READ_BY.get(key, (self.source,))
            if self.source not in readers:
                raise InputError(
                    f"'sources.<task>.{key}' applies only to {' and '.join(readers)}, but the source is "
                    f"'{self.source}': remove the key"
                )
        for key in ("labels", "images", "masks"):
            path = PurePath(getattr(self, key) or "")
            if path.is_absolute() or ".." in path.parts:
                raise InputError(
                    f"'sources.<task>.{key}' is '{path}'; it must be relative to the folder 'path' and inside it: DVC "
                    "watches only that"
                )
        declared = [value for values in self.mask_values.values() for value in values_of(values)]
        for value in [*declared, self.ignore]:
            if isinstance(value, int) and not -(2**31) <= value < 2**31:
                raise InputError(f"a value in 'sources.<task>' is {value}; masks hold numbers of 32 bits at most")
            if isinstance(value, tuple) and not all(0 <= channel <= 255 for channel in value):
                raise InputError(f"a colour in 'sources.<task>' is {list(value)}; red, green and blue must be 0 to 255")


def values_of(declared: MaskValues) -> list[MaskValue]:
    """Return the values that `mask_values` declares for a class, as a list.

    `3` is one number and `[3, 4]` are two, but a list of three numbers is always one colour. Several colours, or three
    numbers, need inner brackets, as in `[[255, 0, 0], [200, 0, 0]]` and `[[3], [4], [5]]`.

    Raises:
        InputError: the list is empty, or inner brackets hold neither one nor three numbers.
    """
    if isinstance(declared, int):
        return [declared]
    if not declared:
        raise InputError("'sources.<task>.mask_values' has an empty list; name a value, or leave the class out")
    flat = [each for each in declared if isinstance(each, int)]
    if len(flat) == 3:
        return [(flat[0], flat[1], flat[2])]
    return [*flat] or [_bracketed(each) for each in declared if isinstance(each, tuple)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """All of experiment.yaml.

    Attributes:
        root: the folder with `stages/` and `terracyte/`, relative to the experiment's folder; dvc.yaml uses it.
        weights: the folder searched for pretrained weights before anything is downloaded.
        sources: the source of each task.
        rows: variant → task, for the variants to train and compare, in the order of the tables.
        override: dotted path in params.yaml → its new value; a mapping is merged into the existing one.
    """

    root: str
    weights: str
    sources: dict[str, Source]
    rows: dict[str, str]
    override: dict[str, object] = dataclasses.field(default_factory=dict)


def _bracketed(numbers: tuple[int, ...]) -> MaskValue:
    if len(numbers) == 3:
        return numbers[0], numbers[1], numbers[2]
    if len(numbers) == 1:
        return numbers[0]
    raise InputError(
        f"'sources.<task>.mask_values' has the inner list {list(numbers)}; it must hold one number, or red, green and "
        "blue"
    )


def overridden(blocks: Mapping[str, Any], override: Mapping[str, object]) -> dict[str, Any]:
    """Return the blocks of params.yaml with the experiment's overrides applied.

    Raises:
        InputError: a path begins with a block that an experiment cannot override, or names a key that does not exist.
    """
    changed: dict[str, Any] = copy.deepcopy(dict(blocks))
    for path, value in override.items():
        block, *keys = path.split(".")
        check_keys([block], OVERRIDABLE, "override")
        node, place = changed, block
        for key in keys:
            node = node[block]
            if not isinstance(node, Mapping):
                raise InputError(
                    f"'override.{path}' names a key in '{place}', which has none: it is {node!r}; shorten the path"
                )
            check_keys([key], node, f"override.{place}")
            block, place = key, f"{place}.{key}"
        node[block] = _merged(node[block], value)
    return changed


def _merged(old: object, new: object) -> object:
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        return new
    return {**old, **{key: _merged(old.get(key), value) for key, value in new.items()}}
