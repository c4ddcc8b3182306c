"""The server's answers in JSON types, and the checks of its input."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terracyte.ingest.sources.resizing import Region
from terracyte.predict.outputs import shares
from terracyte.predict.predictor import Predictor

LARGEST_BATCH = 64  # images per request; bounds the memory
_DIGITS = 6


def answers(
    predictor: Predictor, images: NDArray[np.uint8], regions: Sequence[Region] | None = None
) -> list[dict[str, Any]]:
    """Predict images and return one answer per image.

    Args:
        predictor: the champion.
        images: (b, h, w, c), 0-255.
        regions: the part of each image that is the picture, without padding; None if all of it is.

    Returns:
        For tasks with labels: `class`, `confidence` (0-1, calibrated), `unfamiliar` and `probabilities` by class. For
        tasks with masks: `confidence`, `unfamiliar`, `shares` of the picture's pixels by class, and the picture's
        `mask` (h', w') of labels.
    """
    predictions = predictor.predict(images, regions)
    values, confidence = shares(predictor, predictions), predictions.confidence
    result = []
    for row, labels in enumerate(predictions.within_pictures(predictions.labels)):
        common = {"confidence": round(float(confidence[row]), _DIGITS), "unfamiliar": bool(predictions.unfamiliar[row])}
        by_class = dict(zip(predictor.classes, np.round(values[row], _DIGITS).tolist(), strict=True))
        if predictor.task.dense:
            result.append({**common, "shares": by_class, "mask": labels.tolist()})
        else:
            result.append({"class": predictor.task.classes[labels], **common, "probabilities": by_class})
    return result


def problem(images: NDArray[Any]) -> str | None:
    """Return what is wrong with a batch (b, h, w, c), in one sentence, or None if nothing is."""
    if not len(images):
        return "the batch is empty: send at least one image"
    if len(images) > LARGEST_BATCH:
        return f"the batch has {len(images)} images: send at most {LARGEST_BATCH}"
    if not np.isfinite(images).all():
        return "a pixel is not a finite number: pixels must be in 0-255"
    if images.min() < 0 or images.max() > 255:
        return f"the pixels range from {images.min():g} to {images.max():g}: they must be in 0-255"
    if images.max() <= 2 and (images != np.rint(images)).any():
        return f"the pixels reach only {images.max():g}: scale them to 0-255"
    return None
