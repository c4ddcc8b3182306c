"""Propose parameters that fit the images and this machine: size, batches, epochs, thresholds."""

import dataclasses

import numpy as np

from terracyte import tasks
from terracyte.images.statistics import describe as statistics
from terracyte.ingest.sources.arrays import DARKEST
from terracyte.measure import settings, thresholds
from terracyte.new.machine import relative_speed
from terracyte.new.survey import Survey
from terracyte.params import Balance, Clean, TaskSpec, Validate

_MULTIPLE = 16  # divides the edges: four levels of a U-Net halve them
_SMALLEST, _LARGEST = 32, 128  # edges in pixels; larger ones are worth their time on a GPU
_PIXELS_PER_SECOND = {"classification": 1.2e6, "segmentation": 0.25e6}  # in training, per core of a server
_BACKBONE_PIXELS_PER_SECOND = 0.27e6  # of EfficientNet-Lite0, counted at its input
_PATCHED = 64  # edge from which a U-Net reads squares of four pixels, at a quarter of the cost
_MINUTES = 8  # that a row should take; `make` gives each row one core
_STEPS = 3000  # of training, after which small networks have learned what they can
_FEWEST_EPOCHS, _MOST_EPOCHS = 6, 60
_TRAINING = 0.7  # share of the images, where no split is given
_BACKGROUND = "not labelled"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Proposal:
    """The proposed values of params.yaml.

    Attributes:
        spec: the task's block of `tasks`.
        validate, clean, balance: the task's blocks of these names, measured on some of the images.
        batch_size, epochs, weight_averaging: values of the reference.
        depth: levels or stages of the networks.
        patch: edge of the squares that a U-Net reads, in pixels.
        resolution: edge of the images that a classifying backbone sees, in pixels.
        pretrained_epochs: epochs of the pretrained row.
        minutes, pretrained_minutes: about how long a row, and the pretrained row, take on one core.
        brightest: the largest value of the pixels that were measured, 0-255.
        reasons: the reasons for `size` and `epochs`, in words.
    """

    spec: TaskSpec
    validate: Validate
    clean: Clean
    balance: Balance
    batch_size: int
    epochs: int
    weight_averaging: float
    depth: int
    patch: int
    resolution: int
    pretrained_epochs: int
    minutes: int
    pretrained_minutes: int
    brightest: int
    reasons: dict[str, str]


def propose(name: str, found: Survey) -> Proposal:
    """Propose an experiment that fits what the survey found."""
    height, width, why_size = _size(found)
    background = () if found.ignored is None else (_BACKGROUND,)
    spec = TaskSpec(
        kind=found.kind,
        classes=(*background, *found.classes),
        height=height,
        width=width,
        channels=3 if found.in_colour else 1,
        background=_BACKGROUND if background else None,
        pixel_range=found.pixel_range,
        transparent="flatten" if found.transparent else "refuse",
    )
    batch_size = 32 if found.kind == "classification" else 16
    images = found.splits.get("train", max(int(_TRAINING * found.count), 1))
    patch = 2 if min(height, width) >= _PATCHED else 1
    slower = 4 if found.kind == "segmentation" and patch == 1 else 1
    speed = relative_speed()
    per_minute = 60 * speed / slower * _PIXELS_PER_SECOND[found.kind] / (height * width)
    wanted, affordable = round(_STEPS * batch_size / images), int(_MINUTES * per_minute / images)
    epochs = int(np.clip(min(wanted, affordable), _FEWEST_EPOCHS, _MOST_EPOCHS))
    steps = epochs * -(-images // batch_size)
    resolution = min(2 * max(height, width), _LARGEST)
    seen = resolution**2 if found.kind == "classification" else 4 * height * width  # enlarged by 2
    pretrained_per_minute = 60 * speed * _BACKBONE_PIXELS_PER_SECOND / seen
    pretrained_epochs = int(np.clip(_MINUTES * pretrained_per_minute / images, 3, max(epochs // 4, 3)))
    amounts = np.array(list(found.classes.values()))  # images of each class, or its share of the pixels
    shares = thresholds.expected(amounts / amounts.sum() if found.kind == "classification" else amounts)
    task = tasks.of(name, spec)
    some = found.read(task)
    rows = statistics(some).assign(id=np.arange(len(some)), keep=True)
    validate, _ = settings.expected(task, Validate(class_share=shares), rows)
    clean, _ = settings.cleaning(Clean(), some, rows)
    balance, _ = settings.splitting(Balance(), some, rows)
    return Proposal(
        spec=spec,
        validate=validate,
        clean=clean,
        balance=balance,
        batch_size=batch_size,
        epochs=epochs,
        weight_averaging=round(float(np.clip(1 - 20 / steps, 0.9, 0.998)), 3),
        depth=int(np.clip(np.log2(min(height, width) / 8), 2, 4)),
        patch=patch,
        resolution=resolution,
        pretrained_epochs=pretrained_epochs,
        minutes=max(round(epochs * images / per_minute), 1),
        pretrained_minutes=max(round(pretrained_epochs * images / pretrained_per_minute), 1),
        brightest=int(some.max()),
        reasons={
            "size": why_size,
            "epochs": f"{steps} steps ({_STEPS} are enough); one core here, about {speed:g} times as fast as one of a "
            f"server, does {affordable} epochs in {_MINUTES} minutes; {_FEWEST_EPOCHS} to {_MOST_EPOCHS} are proposed",
        },
    )


def describe(proposed: Proposal) -> str:
    """The proposal as a table of two columns."""
    spec, copies, group = proposed.spec, proposed.clean.near_duplicate_correlation, proposed.balance.group_correlation
    lines = [
        ("proposed size", f"{spec.width}x{spec.height}, {spec.channels} channels: {proposed.reasons['size']}"),
        ("proposed epochs", f"{proposed.epochs}, with batches of {proposed.batch_size}: {proposed.reasons['epochs']}"),
        (
            "a row takes about",
            f"{proposed.minutes} min on one core, the pretrained row {proposed.pretrained_minutes} min",
        ),
        ("near duplicates", f"correlate by {copies} or more, images of a group by {group} or more (measured)"),
    ]
    if spec.pixel_range:
        lines.append(("pixel values", f"{spec.pixel_range[0]:g} becomes 0, {spec.pixel_range[1]:g} becomes 255"))
    if proposed.brightest <= DARKEST:
        lines.append(
            ("look at", f"no pixel exceeds {proposed.brightest} of 255: scale the pictures, or all are nearly black")
        )
    return "\n".join(f"{name:30}{text}" for name, text in lines)


def _size(found: Survey) -> tuple[int, int, str]:
    """Return height, width and their reason: the median picture's, rounded, at most what a CPU trains in minutes."""
    sizes = np.repeat(np.array(list(found.sizes)), list(found.sizes.values()), axis=0)
    width, height = np.median(sizes, axis=0)
    scale = min(1.0, _LARGEST / max(width, height))
    rounded = [
        int(np.clip(_MULTIPLE * int(scale * edge / _MULTIPLE + 0.5), _SMALLEST, _LARGEST)) for edge in (height, width)
    ]
    why = f"the median picture has {width:.0f}x{height:.0f} pixels; edges are multiples of {_MULTIPLE} from {_SMALLEST}"
    return rounded[0], rounded[1], f"{why} to {_LARGEST} (larger ones are for a GPU)"
