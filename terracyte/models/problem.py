"""The form of a task's images and classes: what a builder needs beside the configuration."""

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
    """The form of a task's images and classes.

    Attributes:
        image_shape: (h, w, c) in pixels.
        dense: True where each pixel has a class, False where each image has one.
        class_shares: (k,) share of each class in the training images (of pixels where dense), summing to 1.
        pretrained: weights of the backbone, in one of Keras' formats; None starts from random ones.
    """

    image_shape: tuple[int, int, int]
    dense: bool
    class_shares: tuple[float, ...]
    pretrained: Path | None = None

    @property
    def classes(self) -> int:
        """Number of classes, k."""
        return len(self.class_shares)
