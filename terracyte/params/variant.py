"""What a variant is, and every key that may stand in a reference or in a variant's `change`."""

import dataclasses
from typing import Literal

from terracyte.core.errors import InputError
from terracyte.params.schema import number


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """A variant in full: everything that decides what its training does, but data, pretrained weights and seed.

    Attributes:
        architecture: a name of the registry of models.
        size: of a family that comes in sizes (mobilenet_v3: small, large; convnext: tiny to xlarge; efficientnet_lite:
            lite0, lite2).
        minimalistic: mobilenet_v3 without hard-swish, squeeze-and-excitation and 5x5 convolutions.
        weights: where a backbone starts: imagenet (refused where it cannot be had), imagenet_or_none (random
            where it cannot be had, and the tables say so), none (random), or a file (DVC notices its change where
            it lies in the folder that experiment.yaml names). An architecture without a backbone has no use for it.
        resolution: edge to which a backbone resizes its images, inside the model, in pixels; 0 leaves them as they are.
        encoder: of a U-Net: its own levels (none), or a backbone.
        enlarge: factor by which the images grow before such a backbone sees them: it was trained on larger ones.
        width: filters of the first level.
        depth: levels (U-Net) or stages (CNN).
        patch: edge of the blocks of pixels that a U-Net's first level reads and writes as one; its levels, and their
            cost, begin at the image's edges / patch.
        squeeze_excite: channel attention in each block (arXiv 1709.01507).
        residual: shortcuts around each level's convolutions (U-Net; arXiv 1512.03385).
        attention: gates on the U-Net's shortcuts (arXiv 1804.03999).
        joined: how a U-Net's decoder takes the encoder's shortcuts: concatenate (as published), or add, at less cost.
        standardize: bring each image to zero mean and unit variance first (U-Net, CNN).
        raw_brightness: show a U-Net without encoder the grey values as they are beside the standardized ones: how
            bright a surface is tells something of it, too.
        input_dropout: rate of the single values of the input.
        dropout: rate before the head or in the bottleneck.
        l1, l2: kernel penalties.
        head_epochs: the first epochs, in which a pretrained backbone is frozen.
        fine_tune_rate: factor of the learning rate in the epochs after them.
        fine_tune_depth: share of the backbone's layers, from its end, that is trained in the epochs after them.
        flip, rotation, zoom: geometry: which mirrors; the largest turn, in turns; the largest relative change.
        brightness, contrast, saturation: strengths; at 1, an image's mean moves up by half of the range or down to
            its half, its grey values stretch by a factor of 0.2 to 2, its saturation by one of 1/9 to 9.
        hue: the largest turn of the colour circle, in turns.
        prime: probability that an image is mixed with bent grey values and a random filter of it (arXiv 2112.13547).
        shading: probability that a smooth region of an image has another light, channel by channel.
        blur, erasing: probability that an image is blurred, or that boxes of it are erased (arXiv 1708.04896).
        erasing_boxes: how many boxes of it at most; 1 is filled with one colour, several with colours or noise.
        policy: chain of random changes: randaugment (arXiv 1909.13719) or augmix (arXiv 1912.02781; no masks).
        policy_strength: of its changes, 0-1.
        cutmix, mixup: probability that a batch is mixed, in one way at most (arXiv 1905.04899, 1710.09412).
        class_weights: weigh the loss by `balance`'s class weights.
        weighted_sampling: draw training images by `balance`'s sampling weights.
        ignore_background: leave the pixels of the task's background out of the loss. Segmentation only.
        rare_class_boost: show training images of the rare class `repeats` times, each freshly augmented.
        overlap_loss: what is added to the cross entropy: soft Dice (arXiv 1606.04797) or the
            Lovász-Softmax (arXiv 1705.08790), which stands for the IoU itself.
        overlap_weight: its factor.
        label_smoothing: of the cross entropy.
        optimizer, learning_rate, beta_1, beta_2, weight_decay: Lion (arXiv 2302.06675) or AdamW (arXiv 1711.05101).
        schedule: of the learning rate over all epochs.
        warmup: share of the steps in which the rate rises to its peak.
        weight_averaging: decay per step of the exponential moving average that becomes the model
            (arXiv 1803.05407 averages likewise); 0 for none.
        test_time_flips: the model averages its logits over the mirrors that `flip` names.
        class_offsets: add to the trained network's logits, class by class, what raises the validation score most.
        precision: of the arithmetic in training; weights, logits and the model that comes of it are float32 always.
            bfloat16 is faster where the processor multiplies such matrices (GPUs, Intel's AMX), slower elsewhere.
        folds: the training of seed s holds out fold s, modulo their number, of the training and validation images, and
            learns from all others; else it learns from the training split and validation chooses its epoch.
        batch_size, epochs: images per step; passes over the training rows.
        patience: epochs without a better validation metric before training stops.
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
    """What may become a row of the tables: the reference of its task with some keys changed.

    Attributes:
        task: whose reference it changes.
        title: what the row shows, in a few words.
        published: the original's score on its own hidden test set (0-1), or null.
        marked: why the row stands outside the challenge's rules, which a mark in the tables says; it is submitted only
            if it is asked for, or no row is without one. Null for none.
        compared_with: the variant to which the table shows the difference; null for the row above.
        like: the variant whose change this one takes over and adds to; null for none.
        change: keys of the task's reference and their values here; `tuned: false` leaves out what `tune` found.
        members: what single trainings change besides: that of seed s takes entry s, modulo their number. Networks that
            are unlike err unlike, and their averaged logits less (arXiv 1612.01474 averages some that are alike).
        seeds: those of its trainings; null for one per fold where it has folds, else for everyone's.
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
