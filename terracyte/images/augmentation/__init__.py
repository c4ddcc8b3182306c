"""Random changes of training batches; labels and masks follow.

Everything here is a pure function of its arguments: a batch's randomness is drawn from the generator that
the caller seeds, never from a global state, so that a resumed training sees the same images. OpenCV changes single
images, at a tenth of the time of Keras' layers; where those are right and a policy needs them, they are given numbers
that are drawn here.
"""

import dataclasses
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from terracyte.core.errors import InputError
from terracyte.images.augmentation import appearance, geometry, mixing, policy
from terracyte.params.variant import Config

# a training has one thread: the same bytes on any number of cores
cv2.setNumThreads(1)

Images = NDArray[np.float32]
Targets = NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """The random changes that a configuration asks for.

    Attributes:
        config: the keys from `flip` to `mixup` matter.
        dense: True: targets are masks (b, h, w); False: class shares (b, k).
        channels: of the images, 1 or 3.

    Raises:
        InputError: the configuration asks for colour where there is none, for blended masks, or for two mixtures
            of one batch.
    """

    config: Config
    dense: bool
    channels: int

    def __post_init__(self) -> None:
        config = self.config
        for key in ("saturation", "hue"):
            value = getattr(config, key)
            if value and self.channels != 3:
                raise InputError(f"{key} is {value:g}, but the images are grey: it needs colour images; set it to 0")
        if self.dense and config.mixup:
            raise InputError(f"mixup is {config.mixup:g}, but masks cannot be blended: set it to 0, or use cutmix")
        if self.dense and config.policy == "augmix":
            raise InputError("policy is 'augmix', but masks cannot be blended: use 'randaugment' or 'none'")
        if config.cutmix + config.mixup > 1:
            raise InputError(
                f"cutmix is {config.cutmix:g} and mixup {config.mixup:g}, but a batch is mixed in one way at most:"
                " lower them to a sum of 1"
            )

    def __call__(
        self, images: NDArray[np.uint8], targets: Targets, random: np.random.Generator
    ) -> tuple[Images, Targets]:
        """Change a batch: first geometry, then appearance, then mixtures with other images.

        Args:
            images: (b, h, w, c), 0-255.
            targets: masks (b, h, w), integers, or class shares (b, k) float32.
            random: drawn from in a fixed order.

        Returns:
            Images (b, h, w, c) float32, 0-255, and targets of the given shape and dtype.
        """
        masks = targets if self.dense else None
        changed, masks = self._move(images, masks, random)
        self._recolour(changed, random)
        return self._mix(changed, targets if masks is None else masks, random)

    def _move(
        self, images: NDArray[np.uint8], masks: Targets | None, random: np.random.Generator
    ) -> tuple[Images, Targets | None]:
        """New arrays."""
        config, (size, height, width, _) = self.config, images.shape
        transforms = geometry.flips(size, config.flip, height == width, random)
        transforms = transforms @ geometry.rotations_and_zooms(size, config.rotation, config.zoom, random)
        if config.policy == "randaugment":
            chains = policy.randaugment(size, self.channels, config.policy_strength, random)
            moved, masks = geometry.warp(images, masks, transforms @ chains.transforms(height, width))
            return chains(moved), masks
        moved, masks = geometry.warp(images, masks, transforms)
        return policy.augmix(moved, config.policy_strength, random) if config.policy == "augmix" else moved, masks

    def _recolour(self, images: Images, random: np.random.Generator) -> None:
        config = self.config
        appearance.relight(images, config.brightness, config.contrast, random)
        appearance.recolour(images, config.saturation, config.hue, random)
        appearance.prime(images, config.prime, random)
        appearance.shade(images, config.shading, random)
        appearance.blur(images, config.blur, random)
        mixing.erase(images, config.erasing, config.erasing_boxes, random)

    def _mix(self, images: Images, targets: Targets, random: np.random.Generator) -> tuple[Images, Targets]:
        drawn = random.random()
        if drawn < self.config.cutmix:
            return mixing.cutmix(images, targets, self.dense, random)
        if drawn < self.config.cutmix + self.config.mixup:
            return mixing.mixup(images, targets, random)
        return images, targets
