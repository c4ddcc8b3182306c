"""What a network must map to what, and where it starts."""

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
    """The form of a task's images and classes.

    Attributes:
        image_shape: (h, w, c) in pixels.
        dense: True where each pixel has a class, False where each image has one.
        class_shares: share of each class in the training images (of pixels where dense), summing to 1;
            k of them.
        pretrained: weights of the backbone, in one of Keras' formats; None starts from random ones.
    """

    image_shape: tuple[int, int, int]
    dense: bool
    class_shares: tuple[float, ...]
    pretrained: Path | None = None

    @property
    def classes(self) -> int:
        """k."""
        return len(self.class_shares)
