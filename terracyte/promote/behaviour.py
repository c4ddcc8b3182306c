"""Behaviour tests: what a model must do whatever its score, tested on validation images, never on test images."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from terracyte.core import files, manifests, paths
from terracyte.core.errors import InputError
from terracyte.models import inference
from terracyte.models.serialization import read_model
from terracyte.params import Promote
from terracyte.promote import checks
from terracyte.promote.checks import Check
from terracyte.tasks.task import Task

Images = NDArray[np.uint8]
Flip = Literal["none", "horizontal", "both"]
Logits = NDArray[np.float32]
Decisions = NDArray[Any]  # (n,) or (n, h, w) labels
Decide = Callable[[Images], Decisions]

_GREYS = (0, 128, 255)  # grey values of images without content
_ALONE = 8  # images that are also predicted one by one
_BATCH = 64  # images per step; no result depends on it
_VERTICAL, _HORIZONTAL = 1, 2  # axes of images (n, h, w, c) and masks (n, h, w)
_DECIMALS = 4  # further digits are float noise, which differs between processors


def validation_images(task: Task, count: int) -> Images:
    """Return validation images (n, h, w, c), spread evenly over the split; all if there are fewer than `count`.

    Raises:
        InputError: the split is empty.
    """
    manifest = manifests.read_balanced(task.name)
    ids = np.sort(manifest["id"][manifest["split"] == "validation"].to_numpy(np.int64))
    if not len(ids):
        raise InputError(f"{paths.balance_manifest(task.name)}: no row's split is 'validation'")
    places = np.unique(np.linspace(0, len(ids) - 1, min(count, len(ids))).round().astype(np.int64))
    return np.asarray(files.map_array(paths.images(task.name))[ids[places]])


def examine(task: Task, model: Path, images: Images, flip: Flip, bounds: Promote) -> list[Check]:
    """Run all behaviour tests on a model.

    Args:
        task: the model's task.
        model: file of the model.
        images: (n, h, w, c), see `validation_images`.
        flip: the mirrorings that keep the label; if "none", flips are not tested.
        bounds: the bounds that the model must keep.

    Returns:
        One check per test, with `figure` and `bound` if the test has a bound. The figure is None if flips are not
        tested, or if outputs are not finite and so have no difference.

    Raises:
        InputError: the model can't be read.
    """
    inference.make_repeatable(0)
    network = read_model(model)

    def predict(pixels: Images, size: int = _BATCH) -> Iterator[Logits]:
        return inference.predict(network, pixels, np.arange(len(pixels)), size)

    def decide(pixels: Images) -> Decisions:
        return np.concatenate([task.predicted(task.decode(logits)) for logits in predict(pixels)])

    plain = decide(images)
    greys = np.array(_GREYS, np.uint8).reshape(-1, 1, 1, 1)
    empty = np.broadcast_to(greys, (len(_GREYS), *task.image_shape))
    return [
        _flips(task, decide, images, plain, flip, bounds),
        _brightness(decide, images, plain, bounds),
        Check(name=checks.EMPTY, passed=all(_allowed(task, logits) for logits in predict(empty))),
        _batch_of_one(predict, images, bounds),
    ]


def _flips(task: Task, decide: Decide, images: Images, plain: Decisions, flip: Flip, bounds: Promote) -> Check:
    """Check that decisions (per image or pixel) stay the same when images are mirrored; masks are mirrored back."""
    if flip == "none":
        return Check(name=checks.FLIPS, figures={"figure": None, "bound": bounds.flip_agreement})
    axes = (_HORIZONTAL, _VERTICAL) if flip == "both" else (_HORIZONTAL,)
    mirrored = [decide(np.flip(images, axis)) for axis in axes]
    back = [np.flip(masks, axis) for masks, axis in zip(mirrored, axes, strict=True)] if task.dense else mirrored
    return _agreement(checks.FLIPS, back, plain, bounds.flip_agreement)


def _brightness(decide: Decide, images: Images, plain: Decisions, bounds: Promote) -> Check:
    """Check that decisions stay the same when images become slightly darker or lighter."""
    changes = [(1 - bounds.gain, 0.0), (1 + bounds.gain, 0.0), (1.0, -bounds.offset), (1.0, bounds.offset)]
    changed = [(images * gain + offset).round().clip(0, 255).astype(np.uint8) for gain, offset in changes]
    return _agreement(checks.BRIGHTNESS, [decide(one) for one in changed], plain, bounds.brightness_agreement)


def _agreement(name: str, changed: list[Decisions], plain: Decisions, bound: float) -> Check:
    share = float(np.mean([one == plain for one in changed]))
    return Check(name=name, passed=share >= bound, figures={"figure": round(share, _DECIMALS), "bound": bound})


def _allowed(task: Task, logits: Logits) -> bool:
    """Whether logits are finite and fit the classes, so that softmax gives distributions, and never give background."""
    if logits.shape[-1] != len(task.classes) or not np.isfinite(logits).all():
        return False
    return bool(np.isin(task.predicted(task.decode(logits)), task.scored_classes).all())


def _batch_of_one(predict: Callable[[Images, int], Iterator[Logits]], images: Images, bounds: Promote) -> Check:
    """Check how much an image's logits differ between a batch and the image alone."""
    few = images[:_ALONE]
    together = np.concatenate(list(predict(few, len(few))))
    difference = float(np.abs(together - np.concatenate(list(predict(few, 1)))).max())
    figure = round(difference, _DECIMALS) if np.isfinite(difference) else None  # JSON has no NaN or infinity
    return Check(
        name=checks.BATCH, passed=difference <= bounds.rounding, figures={"figure": figure, "bound": bounds.rounding}
    )
