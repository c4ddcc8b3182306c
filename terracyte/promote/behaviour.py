"""Behaviour tests: what a model must do whatever its score, tried on validation images, never on test."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terracyte.core import paths, quiet
from terracyte.core.errors import InputError
from terracyte.params import Promote
from terracyte.tasks.task import Task

Images = NDArray[np.uint8]
Flip = Literal["none", "horizontal", "both"]
Logits = NDArray[np.float32]

# Each test by name: whether it `passed`; where it has a bound, the `bound` and the `figure` that was found.
Behaviour = dict[str, dict[str, Any]]

FLIPS, BRIGHTNESS, EMPTY, BATCH = "flips", "brightness", "empty_image", "batch_of_one"

_GREYS = (0, 128, 255)  # of images without content
_ALONE = 8  # images that are also predicted one by one
_BATCH = 64  # images per step; no result depends on it
_VERTICAL, _HORIZONTAL = 1, 2  # axes of images (n, h, w, c) and masks (n, h, w)
_DECIMALS = 4  # float noise, which differs between processors, lies beyond


def shown(task: Task, wanted: int) -> Images:
    """(n, h, w, c): validation images, spread evenly over the split; all where there are fewer than `wanted`.

    Raises:
        InputError: the split is empty.
    """
    manifest = pd.read_parquet(paths.balance_manifest(task.name))
    ids = np.sort(manifest["id"][manifest["split"] == "validation"].to_numpy(np.int64))
    if not len(ids):
        raise InputError(f"{paths.balance_manifest(task.name)}: no row's split is 'validation'")
    places = np.unique(np.linspace(0, len(ids) - 1, min(wanted, len(ids))).round().astype(np.int64))
    return np.asarray(np.load(paths.images(task.name), mmap_mode="r")[ids[places]])


def examine(task: Task, model: Path, images: Images, flip: Flip, bounds: Promote) -> Behaviour:
    """Try a model.

    Args:
        task: whose.
        model: file of the model.
        images: (n, h, w, c), see `shown`.
        flip: the mirrors that keep the label; with none, flips are not tested.
        bounds: what the model must hold.

    Raises:
        InputError: the model can't be read.
    """
    # Imported here: a champion that stays is not tried again.
    with quiet.importing_keras():
        from terracyte.models import inference
        from terracyte.models.serialization import read_model

    inference.make_repeatable(0)
    network = read_model(model)

    def predict(pixels: Images, size: int = _BATCH) -> Iterator[Logits]:
        return inference.predict(network, pixels, np.arange(len(pixels)), size)

    def decide(pixels: Images) -> NDArray[Any]:
        return np.concatenate([task.predicted(task.decode(logits)) for logits in predict(pixels)])

    plain = decide(images)
    tests = {
        BRIGHTNESS: _bounded(_brightness(decide, images, plain, bounds), bounds.brightness_agreement),
        EMPTY: {"passed": all(_sound(task, logits) for logits in predict(_empty(task)))},
        BATCH: _within(_alone(predict, images), bounds.rounding),
    }
    if flip == "none":
        return tests
    return {FLIPS: _bounded(_flips(task, decide, images, plain, flip), bounds.flip_agreement), **tests}


def _bounded(share: float, bound: float) -> dict[str, Any]:
    return {"passed": share >= bound, "figure": round(share, _DECIMALS), "bound": bound}


def _within(difference: float, bound: float) -> dict[str, Any]:
    """A difference of outputs that are not finite is none; the record holds numbers only."""
    figure = round(difference, _DECIMALS) if np.isfinite(difference) else None
    return {"passed": bool(difference <= bound), "figure": figure, "bound": bound}


def _flips(
    task: Task, decide: Callable[[Images], NDArray[Any]], images: Images, plain: NDArray[Any], flip: Flip
) -> float:
    """Share of decisions (images or pixels) that stay when the image is mirrored; masks are mirrored back."""
    axes = (_HORIZONTAL, _VERTICAL) if flip == "both" else (_HORIZONTAL,)
    mirrored = [decide(np.flip(images, axis)) for axis in axes]
    back = [np.flip(masks, axis) for masks, axis in zip(mirrored, axes, strict=True)] if task.dense else mirrored
    return float(np.mean([one == plain for one in back]))


def _brightness(
    decide: Callable[[Images], NDArray[Any]], images: Images, plain: NDArray[Any], bounds: Promote
) -> float:
    """Share of decisions that stay in slightly darker and lighter images."""
    changes = [(1 - bounds.gain, 0.0), (1 + bounds.gain, 0.0), (1.0, -bounds.offset), (1.0, bounds.offset)]
    lit = [(images * gain + offset).round().clip(0, 255).astype(np.uint8) for gain, offset in changes]
    return float(np.mean([decide(one) == plain for one in lit]))


def _empty(task: Task) -> Images:
    """(3, h, w, c): black, grey and white."""
    greys = np.array(_GREYS, np.uint8).reshape(-1, 1, 1, 1)
    return np.broadcast_to(greys, (len(_GREYS), *task.image_shape))


def _sound(task: Task, logits: Logits) -> bool:
    """Finite logits of the right shape whose softmax is a distribution; background is never decided for."""
    if logits.shape[-1] != len(task.classes) or not np.isfinite(logits).all():
        return False
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    probabilities = powers / powers.sum(axis=-1, keepdims=True)
    if not np.allclose(probabilities.sum(axis=-1), 1):
        return False
    return bool(np.isin(task.predicted(task.decode(logits)), task.scored_classes).all())


def _alone(predict: Callable[[Images, int], Iterator[Logits]], images: Images) -> float:
    """The largest difference between an image's logits in a batch and alone."""
    few = images[:_ALONE]
    together = np.concatenate(list(predict(few, len(few))))
    return float(np.abs(together - np.concatenate(list(predict(few, 1)))).max())
