"""What a network must map to what."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
    """The form of a task's images and classes.

    Attributes:
        image_shape: (h, w, c) in pixels.
        dense: True where each pixel has a class, False where each image has one.
        class_shares: share of each class in the training images (of pixels where dense), summing to 1;
            k of them.
    """

    image_shape: tuple[int, int, int]
    dense: bool
    class_shares: tuple[float, ...]

    @property
    def classes(self) -> int:
        """k."""
        return len(self.class_shares)
