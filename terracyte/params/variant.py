"""Variants, and all keys that a reference or a variant's `change` may contain."""

import dataclasses
from typing import Literal

from terracyte.core.errors import InputError
from terracyte.params.schema import number


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """A resolved variant: everything that determines its training, except data, pretrained weights and seed.

    Attributes:
        architecture: name of an architecture in the model registry.
        size: size within a backbone's family (mobilenet_v3: small, large; convnext: tiny to xlarge; efficientnet_lite:
            lite0, lite2).
        minimalistic: use mobilenet_v3 without hard-swish, squeeze-and-excitation and 5x5 convolutions.
        weights: initial weights of a backbone: imagenet (an error if unavailable), imagenet_or_none (random if
            unavailable, as the tables then say), none (random), or a file (DVC notices changes of it only in the folder
            that experiment.yaml names as `weights`). Not used by architectures without a backbone.
        resolution: edge in pixels to which a classifier with a backbone resizes its images, inside the model; 0 leaves
            them as they are.
        encoder: a U-Net's encoder: its own levels (none), or a backbone.
        enlarge: factor by which images are enlarged for a U-Net's backbone, which was trained on larger images.
        width: number of filters in the first level.
        depth: number of levels (U-Net) or stages (CNN).
        patch: edge of the pixel blocks that a U-Net reads and predicts as units: its first level has the image's edges
            / patch, which lowers its cost.
        squeeze_excite: channel attention in each block (arXiv 1709.01507).
        residual: shortcuts around each level's convolutions (U-Net; arXiv 1512.03385).
        attention: gates on the U-Net's shortcuts (arXiv 1804.03999).
        joined: how a U-Net's decoder joins the encoder's shortcuts: concatenate (as published), or add, at less cost.
        standardize: bring each image to zero mean and unit variance first (U-Net, CNN).
        raw_brightness: give a U-Net without a backbone the unstandardized grey values as additional input channels,
            because a surface's brightness is informative, too.
        input_dropout: dropout rate of the single input values.
        dropout: dropout rate before the head (classifiers) or in the bottleneck (U-Net).
        l1, l2: kernel penalties.
        head_epochs: number of first epochs in which a pretrained backbone is frozen.
        fine_tune_rate: factor of the learning rate in the epochs after `head_epochs`; no effect if that is 0.
        fine_tune_depth: share of the backbone's layers, counted from its end, that are trained after `head_epochs`; 0
            freezes the backbone throughout. Without `head_epochs`, any other value trains all layers.
        flip, rotation, zoom: geometry: which mirrors; largest rotation, in turns; largest relative change of size.
        brightness, contrast, saturation: strengths; at 1, an image's mean rises by up to half of the range or falls by
            up to half of itself, its contrast is scaled by 0.2 to 2, and its saturation by 1/9 to 9.
        hue: largest rotation of the colour circle, in turns.
        prime: probability that an image is mixed with two copies, one with randomly bent grey values and one randomly
            filtered (arXiv 2112.13547).
        shading: probability that the light changes in a smooth region of an image, channel by channel.
        blur, erasing: probability that an image is blurred, or that boxes of it are erased (arXiv 1708.04896).
        erasing_boxes: largest number of erased boxes per image. If it is 1, the box has one colour; otherwise each box
            has one colour or noise.
        policy: chain of random changes: randaugment (arXiv 1909.13719) or augmix (arXiv 1912.02781; no masks).
        policy_strength: strength of the policy's changes, 0-1.
        cutmix, mixup: probability that a batch is mixed in this way, one way at most (arXiv 1905.04899, 1710.09412).
        class_weights: weight the loss by `balance`'s class weights.
        weighted_sampling: draw training images by `balance`'s sampling weights.
        ignore_background: leave the pixels of the task's background out of the loss. Segmentation only.
        rare_class_boost: show training images of the rare class `balance`'s `rare_repeats` times per epoch, each time
            augmented anew.
        overlap_loss: term added to the cross entropy: soft Dice (arXiv 1606.04797) or Lovász-Softmax
            (arXiv 1705.08790), a surrogate of the IoU itself.
        overlap_weight: factor of the overlap loss.
        label_smoothing: label smoothing of the cross entropy.
        optimizer, learning_rate, beta_1, beta_2, weight_decay: Lion (arXiv 2302.06675) or AdamW (arXiv 1711.05101).
        schedule: schedule of the learning rate; it starts anew after `head_epochs`.
        warmup: share of a cosine schedule's steps in which the rate rises to its peak.
        weight_averaging: decay per step of the exponential moving average of the weights, which becomes the model
            (arXiv 1803.05407 averages similarly); 0 for no averaging.
        test_time_flips: average the model's logits over the mirror images that `flip` names.
        class_offsets: add to the trained network's logits the offset per class that raises the validation score most.
        precision: precision of the arithmetic in training; weights, logits and the resulting model are always float32.
            bfloat16 is faster on processors with bfloat16 matrix units (GPUs, Intel AMX) and slower elsewhere.
        folds: if true, the training of seed s holds out fold s, modulo the number of folds, of the training and
            validation images to choose its epoch, and learns from the other folds; if false, it learns from the
            training split, and the validation split chooses its epoch.
        batch_size, epochs: images per step; passes over the training rows.
        patience: number of epochs without a better validation metric after which training stops.
    """

    architecture: Literal["cnn", "convnext", "efficientnet_lite", "majority", "mobilenet_v3", "unet"]
    size: Literal["tiny", "small", "base", "large", "xlarge", "lite0", "lite2"] = "large"
    minimalistic: bool = False
    weights: str = "none"
    resolution: int = number(0, 1024, default=0)
    encoder: Literal["none", "mobilenet_v3", "efficientnet_lite"] = "none"
    enlarge: Literal[1, 2, 4] = 1
    width: int = number(1, 1024)
    depth: int = number(1, 8)
    patch: Literal[1, 2, 4] = 1
    squeeze_excite: bool = False
    residual: bool = False
    attention: bool = False
    joined: Literal["concatenate", "add"] = "concatenate"
    standardize: bool = False
    raw_brightness: bool = False
    input_dropout: float = number(0, 0.9, default=0.0)
    dropout: float = number(0, 0.9)
    l1: float = number(0, 1)
    l2: float = number(0, 1)
    head_epochs: int = number(0, 10_000, default=0)
    fine_tune_rate: float = number(0, 1, default=0.1)
    fine_tune_depth: float = number(0, 1, default=1.0)
    flip: Literal["none", "horizontal", "both"] = "none"
    rotation: float = number(0, 0.5, default=0.0)
    zoom: float = number(0, 0.5, default=0.0)
    brightness: float = number(0, 1, default=0.0)
    contrast: float = number(0, 1, default=0.0)
    saturation: float = number(0, 1, default=0.0)
    hue: float = number(0, 0.5, default=0.0)
    prime: float = number(0, 1, default=0.0)
    shading: float = number(0, 1, default=0.0)
    blur: float = number(0, 1, default=0.0)
    erasing: float = number(0, 1, default=0.0)
    erasing_boxes: int = number(1, 16, default=1)
    policy: Literal["none", "randaugment", "augmix"] = "none"
    policy_strength: float = number(0, 1, default=0.0)
    cutmix: float = number(0, 1, default=0.0)
    mixup: float = number(0, 1, default=0.0)
    class_weights: bool = False
    weighted_sampling: bool = False
    ignore_background: bool = False
    rare_class_boost: bool = False
    overlap_loss: Literal["none", "dice", "lovasz"] = "none"
    overlap_weight: float = number(0, 10, default=1.0)
    label_smoothing: float = number(0, 0.5, default=0.0)
    optimizer: Literal["lion", "adamw"] = "lion"
    learning_rate: float = number(1e-7, 1, default=1e-4)
    beta_1: float = number(0, 0.9999, default=0.9)
    beta_2: float = number(0, 0.99999, default=0.99)
    weight_decay: float = number(0, 10, default=0.0)
    schedule: Literal["constant", "cosine"] = "cosine"
    warmup: float = number(0, 0.5, default=0.0)
    weight_averaging: float = number(0, 0.99999, default=0.0)
    test_time_flips: bool = False
    class_offsets: bool = False
    precision: Literal["float32", "bfloat16"] = "float32"
    folds: bool = False
    batch_size: int = number(1, 4096, default=32)
    epochs: int = number(1, 10_000, default=1)
    patience: int = number(1, 10_000, default=10)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variant:
    """A possible row of the tables: the reference of its task with some keys changed.

    Attributes:
        task: the task whose reference the variant changes.
        title: description of the row in a few words.
        published: the original's score on its own hidden test set (0-1), or null.
        marked: reason why the row breaks the challenge's rules, which the tables show as a footnote; a marked row is
            submitted only on request, or if all rows are marked. Null for none.
        compared_with: the variant to which the table shows the difference; null for the row above.
        like: the variant whose change this one inherits and adds to; null for none.
        change: keys of the task's reference with the variant's values; `tuned: false` ignores the values of `tune`.
        members: further changes of single trainings: the training of seed s takes entry s, modulo their number.
            Different networks make different errors, so their averaged logits make fewer (arXiv 1612.01474 averages
            networks of one kind).
        seeds: seeds of the variant's trainings; null for one per fold if it has folds, else for the common `seeds`.
    """

    task: str
    title: str
    published: float | None = number(0, 1, default=None)
    marked: str | None = None
    compared_with: str | None = None
    like: str | None = None
    change: dict[str, object] = dataclasses.field(default_factory=dict)
    members: tuple[dict[str, object], ...] = ()
    seeds: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        for name, text in (("title", self.title), ("marked", self.marked or "")):
            if not text.isprintable():
                raise InputError(f"'variants.<variant>.{name}' is {text!r}: it must be one line")
