"""Pretrained weights: looked for, unpacked or downloaded once, checked, and put where training reads them."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from terracyte.core import download, files, opening, paths, quiet
from terracyte.core.errors import InputError
from terracyte.fetch import initialisation
from terracyte.params import Config, Params
from terracyte.params.row import IMAGENET, NOT_TO_BE_HAD, RANDOM

_SERVER = "https://storage.googleapis.com/tensorflow/keras-applications"

# Keras' published files without top, and their checksums (SHA-256 or MD5). Keras' own download has no timeout.
PUBLISHED = {
    "convnext_tiny": (
        "convnext/convnext_tiny_notop.h5",
        "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1",
    ),
    "convnext_small": (
        "convnext/convnext_small_notop.h5",
        "6fc8009faa2f00c1c1dfce59feea9b0745eb260a7dd11bee65c8e20843da6eab",
    ),
    "convnext_base": (
        "convnext/convnext_base_notop.h5",
        "40a20c5548a5e9202f69735ecc06c990e6b7c9d2de39f0361e27baeb24cb7c45",
    ),
    "convnext_large": (
        "convnext/convnext_large_notop.h5",
        "96f02b6f0753d4f543261bc9d09bed650f24dd6bc02ddde3066135b63d23a1cd",
    ),
    "convnext_xlarge": (
        "convnext/convnext_xlarge_notop.h5",
        "de3f8a54174130e0cecdc71583354753d557fcf1f4487331558e2a16ba0cfe05",
    ),
    "mobilenet_v3_large": (
        "mobilenet_v3/weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
        "07fb09a5933dd0c8eaafa16978110389",
    ),
    "mobilenet_v3_large_minimalistic": (
        "mobilenet_v3/weights_mobilenet_v3_large_minimalistic_224_1.0_float_no_top_v2.h5",
        "ec5221f64a2f6d1ef965a614bdae7973",
    ),
    "mobilenet_v3_small": (
        "mobilenet_v3/weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
        "d3e8ec802a04aa4fc771ee12a9a9b836",
    ),
    "mobilenet_v3_small_minimalistic": (
        "mobilenet_v3/weights_mobilenet_v3_small_minimalistic_224_1.0_float_no_top_v2.h5",
        "cde8136e733e811080d9fcd8a252f7e4",
    ),
}
_FAMILIES = ("convnext", "efficientnet_lite", "mobilenet_v3")


def fetch(settings: Params) -> None:
    """Write what each row, and each tuned variant, starts from to `data/pretrained`; each backbone is fetched once.

    An architecture without a backbone starts from random weights, whatever the task's reference says.

    Raises:
        InputError: weights cannot be had or don't belong to the backbone, or a variant asks for some that
            its architecture cannot use.
    """
    tuned = [settings.tune[task].variant for task in settings.task_names if settings.tune[task].trials]
    found: dict[tuple[str, str], tuple[Path | None, str]] = {}
    with files.atomic_folder(paths.PRETRAINED) as folder, tempfile.TemporaryDirectory() as unpacked:
        for name in dict.fromkeys([*settings.experiment.rows, *tuned]):
            for number, member in enumerate(settings.members(name)):
                config = settings.config(name, member=member)
                key = (config.weights, backbone(config))
                if not _needs_weights(config, settings.change(name, member), name):
                    weights, start = None, RANDOM
                elif key in found:
                    weights, start = found[key]
                else:
                    weights, start = found[key] = _choose(settings, name, config, Path(unpacked))
                    if weights is not None:
                        _check(weights, settings, name, config)
                initialisation.write(folder / name / str(number), start, weights)


def backbone(config: Config) -> str:
    """Return the name of a backbone's published weights, made of its family, size and form."""
    family = _family(config)
    form = "_minimalistic" if config.minimalistic and family == "mobilenet_v3" else ""
    return f"{family}_{config.size}{form}"


def _family(config: Config) -> str:
    return config.architecture if config.architecture != "unet" or config.encoder == "none" else config.encoder


def _needs_weights(config: Config, change: Mapping[str, object], name: str) -> bool:
    has_backbone = _family(config) in _FAMILIES
    if not has_backbone and change.get("weights", "none") != "none":
        raise InputError(
            f"params.yaml: 'weights' of {name} is {config.weights}, but {config.architecture} has no"
            f" pretrained backbone: remove it, or set 'architecture' to {' or '.join(_FAMILIES)}, or a unet's 'encoder'"
        )
    return has_backbone and config.weights != "none"


def _choose(settings: Params, name: str, config: Config, unpacked: Path) -> tuple[Path | None, str]:
    """Return the weights' file (None: random ones) and its name in tables; packaged ones are written to `unpacked`."""
    if config.weights not in ("imagenet", "imagenet_or_none"):
        return Path(config.weights), Path(config.weights).name
    try:
        return _imagenet(settings, config, unpacked), IMAGENET
    except ConnectionError as error:
        # by the suffix Keras tells the files that it has published from those that it saves now
        suffix = "h5" if backbone(config) in PUBLISHED else "weights.h5"
        place = Path(settings.experiment.weights) / f"{backbone(config)}_imagenet_notop.{suffix}"
        missing = f"{name}: the ImageNet weights of {backbone(config)} are not available ({error})"
        if config.weights == "imagenet":
            raise InputError(f"{missing}: place them at {place}, or change 'weights' in params.yaml") from error
        print(f"{missing}, nor are they at {place}: training starts from random weights", flush=True)
        return None, NOT_TO_BE_HAD


def _imagenet(settings: Params, config: Config, unpacked: Path) -> Path:
    """Return the weights' file that was placed by hand, or else one from a package or from Keras' server.

    Raises:
        ConnectionError: none was placed, and the server does not answer, or the package is not installed.
        InputError: the backbone is unknown, the file is damaged, or its download failed.
    """
    wanted = backbone(config)
    for suffix in (".weights.h5", ".h5"):
        placed = Path(settings.experiment.weights) / f"{wanted}_imagenet_notop{suffix}"
        if placed.exists():
            return placed
    if _family(config) == "efficientnet_lite":
        with quiet.importing_keras():
            from terracyte.fetch import efficientnet_lite

        return efficientnet_lite.convert(config.size, unpacked)
    if wanted not in PUBLISHED:
        raise InputError(f"params.yaml: unknown backbone {wanted}; it must be one of {', '.join(PUBLISHED)}")
    path, checksum = PUBLISHED[wanted]
    url = f"{_SERVER}/{path}"
    if not (paths.downloads() / Path(path).name).exists():
        download.await_answer(url, settings.fetch.timeout)
    return download.fetch(url, checksum, paths.downloads())


def require_numbers(path: Path) -> None:
    """Refuse a file of weights in which a dataset holds anything but numbers.

    Reading a damaged dataset of sequences or texts, HDF5 may never return.

    Raises:
        InputError: the file is missing, damaged or of another format, or a dataset holds no numbers.
    """
    import h5py  # 0.1 s, which most experiments need not wait for

    def check(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind not in "biuf":
            raise ValueError(f"{name} holds {item.dtype} instead of numbers")

    try:
        opening.require_file(path)
        with h5py.File(path) as file:
            file.visititems(check)
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing: put the right file there, or change 'weights'") from error
    except (OSError, RuntimeError, ValueError, LookupError, TypeError) as error:
        raise InputError(
            f"{path} holds no weights of this backbone or is damaged ({error}): put the right file there, or change"
            " 'weights'"
        ) from error


def _check(weights: Path, settings: Params, name: str, config: Config) -> None:
    """Build the variant's model with the weights, which raises InputError if they are another backbone's."""
    require_numbers(weights)
    with quiet.importing_keras():
        from terracyte import models, tasks
        from terracyte.models.problem import Problem

    task = settings.variants[name].task
    made = tasks.of(task, settings.tasks[task])
    shares = (1 / len(made.classes),) * len(made.classes)
    problem = Problem(image_shape=made.image_shape, dense=made.dense, class_shares=shares, pretrained=weights)
    models.build(config, problem)
