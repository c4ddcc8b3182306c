"""Every reader of foreign input, behind one interface: it takes a path and reads all that is there."""

import copy
import dataclasses
import functools
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from PIL import Image

from terracyte import params, tasks
from terracyte.core import files
from terracyte.fetch import pretrained, torch_file
from terracyte.ingest import raw, sources
from terracyte.ingest.sources import columns, listing, masks, medmnist, sample
from terracyte.ingest.sources.pictures import UnreadableError, decoding, load_image
from terracyte.ingest.sources.resizing import resize_image, resize_mask
from terracyte.new import pictures as new_pictures
from terracyte.new import stacks, survey
from terracyte.params import Source, read_yaml
from terracyte.predict import inputs
from terracyte.serve import pixels, uploads
from terracyte.tasks import Classification
from terracyte.tasks.task import Task
from tests.conftest import ROOT
from tests.pictures import BLOOD, MARS, segmentation

DEEP = Classification("deep", dataclasses.replace(BLOOD.spec, pixel_range=(0.0, 65535.0), transparent="flatten"))
IN_COLOUR = segmentation(MARS.spec.classes, (48, 48, 3))
PADDED = Classification("padded", dataclasses.replace(BLOOD.spec, channels=1, fit="pad"))
NUMBERS = Source(source="folder", path="x")
COLOURS = Source(
    source="folder",
    path="x",
    mask_values={"background": (0, 0, 0), "soil": (220, 20, 60), "rock": (0, 130, 180)},
    snap_masks=True,
    masks_follow="stored",
)


@dataclasses.dataclass(frozen=True)
class Reader:
    """A reader of one family of inputs.

    Attributes:
        family: the family of the inputs that it is given, see `corpus`.
        name: the name of the file or folder that it reads; some readers depend on its suffix.
        read: the function that reads a path.
        sound: an input of the family that it reads to the end.
    """

    family: str
    name: str
    read: Callable[[Path], object]
    sound: str = "sound"


def picture(path: Path) -> None:
    """Read a photo for each of three tasks; refuse it if one of them does."""
    refusals = []
    for task in (BLOOD, DEEP, PADDED):
        try:
            resize_image(task, load_image(task, path).picture)
        except UnreadableError as error:
            refusals.append(str(error))  # not the error itself, which would keep the picture in memory
    if refusals:
        raise UnreadableError(refusals[0])


def mask(source: Source) -> Callable[[Path], None]:
    """Return a function that reads a mask of a source, for a photo of its size that EXIF rotates."""
    coding = masks.coding(MARS, source)

    def read(path: Path) -> None:
        found = masks.load_mask(coding, path)
        labels, unknown = masks.class_numbers(coding, found.values)
        if unknown.any() and not coding.snap:
            masks.unknown_values(MARS, coding, path, found.values, set(np.unique(found.values).tolist()))
        photo = dataclasses.replace(load_image(BLOOD, path), orientation=6, stored_size=labels.shape[::-1])
        resize_mask(MARS, masks.aligned(COLOURS, MARS, labels, found.orientation, photo, path))

    return read


def looked_at(path: Path) -> None:
    """Read a picture as `terracyte new` does."""
    with decoding(path):
        pass
    new_pictures._values(path)
    survey.pixel_range(new_pictures._deep([path]))


def upload(path: Path) -> None:
    """Read a picture as the server reads an upload."""
    uploads.decode(BLOOD, path.read_bytes() if path.is_file() else b"")


def requested(path: Path) -> None:
    """Read arrays as the server reads a request."""
    pixels.read(path.read_bytes() if path.is_file() else b"", (1, 2, 3))


def predicted(task: Task) -> Callable[[Path], None]:
    """Return a function that reads all images as `terracyte predict` and `terracyte drift` do."""

    def read(path: Path) -> None:
        for _ in inputs.read(task, path, 4, resize=True).batches:
            pass

    return read


def ingested(task: Task, kind: Any, **options: Any) -> Callable[[Path], None]:
    """Return a function that reads a source as `ingest` does, into a temporary folder."""

    def read(path: Path) -> None:
        source = Source(source=kind, path=str(path), **options)
        with tempfile.TemporaryDirectory() as folder:
            raw.write(task, sources.read(task, source), Path(folder), str(path))
            raw.write_unlabelled(task, sources.unlabelled(task, source), Path(folder))

    return read


def downloaded(path: Path) -> None:
    """Read a downloaded file of MedMNIST without a check of its checksum."""
    task = Classification("blood", dataclasses.replace(BLOOD.spec, height=32, width=32))
    index = path.with_suffix(".yaml")
    index.write_text("64: {url: http://localhost/x.npz, md5: x}")
    with mock.patch.object(medmnist, "fetch", return_value=path):
        for _ in medmnist.read(task, Source(source="medmnist", path=str(index), download_size=64)):
            pass


def surveyed_array(path: Path) -> None:
    """Read an .npz file as `terracyte new` does."""
    found = stacks.look(path)
    _require_printable(found)
    found.read(BLOOD if found.in_colour else PADDED)


def surveyed_folder(path: Path) -> None:
    """Read a folder as `terracyte new` does."""
    found = new_pictures.look(path, None, None, None, None)
    _require_printable(found)
    found.read(BLOOD)


def _require_printable(found: survey.Survey) -> None:
    """Fail if a terminal would obey what a file's names hold."""
    assert survey.describe(found).replace("\n", "").isprintable()


def surveyed_sheet(path: Path) -> None:
    """Read a CSV file of labels as `terracyte new` does, next to three pictures that it may name."""
    with _pictures_beside(path):
        _require_printable(new_pictures.look(path.parent, None, path, None, None))


@contextmanager
def _pictures_beside(path: Path) -> Iterator[None]:
    names = [path.with_name(f"{letter}.png") for letter in "abc"]
    for name in names:
        Image.new("RGB", (8, 8)).save(name)
    yield
    for name in names:
        name.unlink()


def labels(path: Path) -> None:
    """Read a CSV file of labels as the folder source does."""
    listing.listed_samples(BLOOD, Source(source="folder", path="x", class_of={"x": None}), path.parent, path.name)


def splits(path: Path) -> None:
    """Read a CSV file as one of groups and as one of splits."""
    columns.header(path)
    columns.declared_groups(path.parent, path.name, "site", ["a.png", "b.png"])
    columns.declared_splits(path.parent, path.name, "split", ["a.png", "b.png"])


def experiment_of(name: str) -> Callable[[Path], object]:
    """Return a reader of params.yaml or experiment.yaml, with the root's copy of the other file, which is read once."""

    def read(path: Path) -> object:
        def known(file: Path) -> Any:
            return read_yaml(file) if file.name == name else copy.deepcopy(_root_settings()[file.name])

        with mock.patch.object(params, "read_yaml", known):
            loaded = params.load(path.parent)
            return [loaded.config(row) for row in loaded.experiment.rows]

    return read


@functools.cache
def _root_settings() -> dict[str, Any]:
    return {name: read_yaml(ROOT / name) for name in ("params.yaml", "experiment.yaml")}


def recipe(name: str) -> Callable[[Path], None]:
    """Return a function that reads a recipe of a task's sample, and draws its first batch."""

    def read(path: Path) -> None:
        task = tasks.of(name, _root_params().tasks[name])
        for _ in itertools.islice(sample.read(task, Source(source="sample", path=str(path))), 1):
            pass

    return read


@functools.cache
def _root_params() -> params.Params:
    return params.load(ROOT)


def weights(path: Path) -> None:
    """Read pretrained weights into a small network, as `fetch` reads a backbone's."""
    from terracyte.models.transfer import _load_weights

    pretrained.require_numbers(path)
    _load_weights(_network(), path)


@functools.cache
def _network() -> Any:
    import keras

    network = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3)])
    network.build()
    return network


def index(path: Path) -> None:
    """Read an index of MedMNIST."""
    medmnist._index_entry(path, 128)


READERS = {
    "picture": Reader("picture", "x.png", picture),
    "mask": Reader("picture", "x.png", mask(NUMBERS), sound="sound-mask"),
    "mask-in-colours": Reader("picture", "x.png", mask(COLOURS), sound="sound-mask-in-colours"),
    "new-picture": Reader("picture", "x.png", looked_at),
    "upload": Reader("picture", "x.png", upload),
    "request": Reader("json", "x.json", requested, sound="sound-request"),
    "predict-picture": Reader("picture", "x.png", predicted(BLOOD)),
    "challenge-labels": Reader("npz", "x.npz", ingested(BLOOD, "challenge")),
    "challenge-masks": Reader("npz", "x.npz", ingested(MARS, "challenge")),
    "npz-labels": Reader("npz", "x.npz", ingested(BLOOD, "npz", group_column="groups")),
    "npz-masks": Reader("npz", "x.npz", ingested(IN_COLOUR, "npz")),
    "medmnist": Reader("npz", "x.npz", downloaded),
    "new-npz": Reader("npz", "x.npz", surveyed_array),
    "predict-npz": Reader("npz", "x.npz", predicted(BLOOD)),
    "predict-npz-masks": Reader("npz", "x.npz", predicted(IN_COLOUR)),
    "predict-npz-challenge": Reader("npz", "x.npz", predicted(MARS), sound="sound-challenge"),
    "predict-npy": Reader("npy", "x.npy", predicted(BLOOD)),
    "mapped": Reader("npy", "x.npy", files.map_array),
    "own-npz": Reader("npz", "x.npz", files.read_arrays),
    "own-json": Reader("json", "x.json", files.read_json),
    "own-table": Reader("table", "x.parquet", files.read_table),
    "own-csv": Reader("sheet", "x.csv", files.read_csv),
    "labels": Reader("sheet", "labels.csv", labels),
    "splits": Reader("sheet", "splits.csv", splits),
    "new-labels": Reader("sheet", "labels.csv", surveyed_sheet),
    "folder": Reader("tree", "pictures", ingested(BLOOD, "folder"), sound="sound-classes"),
    "folder-skip": Reader("tree", "pictures", ingested(BLOOD, "folder", unreadable="skip"), sound="sound-classes"),
    "folder-masks": Reader("tree", "pictures", ingested(MARS, "folder"), sound="sound-masks"),
    "new-folder": Reader("tree", "pictures", surveyed_folder, sound="sound-classes"),
    "predict-folder": Reader("tree", "pictures", predicted(BLOOD), sound="sound-classes"),
    "params": Reader("yaml", "params.yaml", experiment_of("params.yaml")),
    "experiment": Reader("yaml", "experiment.yaml", experiment_of("experiment.yaml")),
    "recipe-blood": Reader("yaml", "blood_sample.yaml", recipe("blood")),
    "recipe-mars": Reader("yaml", "mars_sample.yaml", recipe("mars")),
    "index": Reader("yaml", "medmnist.yaml", index),
    "torch": Reader("torch", "x.pth", torch_file.read),
    "weights": Reader("weights", "x.weights.h5", weights),
}


def remove(path: Path) -> None:
    """Remove the file, link or folder at the path, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()
