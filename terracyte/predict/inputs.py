"""What `terracyte predict` reads: a folder of pictures, one picture, an .npz or an .npy, all in batches.

A picture is turned upright (EXIF) and brought to the task's channels: grey becomes RGB, colours become luma, opaque
alpha is dropped. Refused are other sizes (but with `resize`), more than 8 bits per channel and transparent pixels.
Arrays hold 0-255, or floats that nowhere exceed 1.
"""

import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terracyte.core.errors import InputError
from terracyte.ingest.sources.arrays import full_scale, row_names, to_pixels
from terracyte.ingest.sources.listing import shown
from terracyte.ingest.sources.npz import Member, members, names
from terracyte.ingest.sources.pictures import UnreadableError, load_image, resize_image
from terracyte.tasks.task import Task

PICTURES = (".jpg", ".jpeg", ".png")
_CHUNK_BYTES = 16 * 2**20

Form = tuple[int, int, int]
Batch = tuple[list[str], NDArray[np.uint8]]
"""Names of b images, and the images (b, h, w, c)."""


@dataclasses.dataclass
class Input:
    """Images to predict.

    Attributes:
        total: how many there are, unreadable ones included.
        batches: the images in order.
        left_out: files of a folder that are no pictures.
        unreadable: why each unreadable picture was skipped; grows while the batches are read.
    """

    total: int
    batches: Iterator[Batch]
    left_out: list[str] = dataclasses.field(default_factory=list)
    unreadable: list[str] = dataclasses.field(default_factory=list)


def read(task: Task, path: Path, batch_size: int, *, resize: bool = False, skip_unreadable: bool = False) -> Input:
    """Open images; pixels are read when the batches are.

    Args:
        task: whose images they must be.
        path: a folder (sub-folders included, hidden entries not), a .jpg or .png, an .npz with the challenge's keys
            (`images`, or for tasks with masks `test_set`, else the images of `training_set`), or an .npy.
        batch_size: images per batch.
        resize: bring pictures of any size to the task's, instead of refusing them.
        skip_unreadable: pass over damaged pictures, instead of refusing them.

    Raises:
        InputError: there is no image, or one is not of the task's form or unreadable; the latter two while reading.
    """
    if path.is_dir():
        return _folder(task, path, batch_size, resize, skip_unreadable)
    if not path.exists():
        raise InputError(f"{path} is missing: name a folder of pictures, a picture, an .npz or an .npy")
    suffix = path.suffix.lower()
    if suffix in PICTURES:
        found = Input(total=1, batches=iter(()))
        found.batches = _decoded(task, path.parent, iter([path]), batch_size, found, resize, skip_unreadable)
        return found
    if suffix in (".npz", ".npy"):
        member, layout = (_npz if suffix == ".npz" else _npy)(task, path)
        return Input(total=len(member), batches=_array(member, layout, batch_size))
    raise InputError(f"{path} is none of a folder, .jpg, .png, .npz and .npy")


def _folder(task: Task, root: Path, batch_size: int, resize: bool, skip_unreadable: bool) -> Input:
    left_out: list[str] = []
    total = sum(1 for _ in _pictures(root, left_out))
    if not total:
        found = f", but {shown(left_out)}" if left_out else ""
        raise InputError(f"{root} holds no .jpg or .png{found}: name the folder of the pictures")
    found_input = Input(total=total, batches=iter(()), left_out=left_out)
    paths = _pictures(root, [])
    found_input.batches = _decoded(task, root, paths, batch_size, found_input, resize, skip_unreadable)
    return found_input


def _pictures(folder: Path, left_out: list[str]) -> Iterator[Path]:
    """Pictures below a folder, by name, level by level; memory grows with the largest folder only."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"{folder} cannot be listed: {error.strerror}") from error
    for entry in entries:
        path = Path(entry.path)
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _pictures(path, left_out)
        elif path.suffix.lower() in PICTURES:
            yield path
        else:
            left_out.append(entry.name)


def _decoded(
    task: Task, root: Path, paths: Iterator[Path], batch_size: int, found: Input, resize: bool, skip_unreadable: bool
) -> Iterator[Batch]:
    decode = functools.partial(_decode, task, resize)
    for part in _in_threads(decode, paths, batch_size):
        readable = []
        for path, outcome in part:
            if not isinstance(outcome, UnreadableError):
                readable.append((path.relative_to(root).as_posix(), outcome))
            elif skip_unreadable:
                found.unreadable.append(str(outcome))
            else:
                raise InputError(f"{outcome}: repair or remove it, or give --skip-unreadable")
        if readable:
            yield [name for name, _ in readable], np.stack([image for _, image in readable])


def _in_threads(
    decode: Callable[[Path], NDArray[np.uint8] | UnreadableError], paths: Iterator[Path], batch_size: int
) -> Iterator[Iterable[tuple[Path, NDArray[np.uint8] | UnreadableError]]]:
    with ThreadPoolExecutor() as pool:
        while part := list(itertools.islice(paths, batch_size)):
            yield zip(part, list(pool.map(decode, part)), strict=True)


def _decode(task: Task, resize: bool, path: Path) -> NDArray[np.uint8] | UnreadableError:
    height, width, channels = task.image_shape
    try:
        picture = load_image(path, channels)
    except UnreadableError as error:
        return error
    if not resize and picture.size != (width, height):
        raise InputError(
            f"{path} is {picture.width}x{picture.height} pixels, {task.name} images are {width}x{height} (width x "
            "height): give images of that size, or --resize to scale them"
        )
    return resize_image(picture, height, width)


# How rows of an array become images (b, h, w, c).
_Layout = Callable[[NDArray[Any]], NDArray[Any]]


def _npz(task: Task, path: Path) -> tuple[Member, _Layout]:
    height, width, channels = form = task.image_shape
    if not task.dense:
        (images,) = members(path, "images")
        return _of_form(task, images, {form: lambda rows: rows})
    key = "training_set" if "training_set" in (present := names(path)) and "test_set" not in present else "test_set"
    (images,) = members(path, key)
    # the challenge's own order: channels first; with the mask as the last one where it is known
    known: dict[tuple[int, ...], _Layout] = {(channels, height, width): _channels_last(channels)}
    if key == "training_set":
        known = {(channels + 1, height, width): _channels_last(channels)}
    elif channels == 1:
        known = {(height, width): lambda rows: rows[..., None]}
    return _of_form(task, images, known)


def _channels_last(channels: int) -> _Layout:
    return lambda rows: rows[:, :channels].transpose(0, 2, 3, 1)


def _npy(task: Task, path: Path) -> tuple[Member, _Layout]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} is damaged, or no array of plain numbers ({error})") from error
    if array.dtype.kind not in "iuf" or not array.size:
        raise InputError(f"{path} is {array.dtype} {array.shape}: it must hold integers or floats, at least one image")
    height, width, channels = form = task.image_shape
    known: dict[tuple[int, ...], _Layout] = {form: lambda rows: rows}
    if channels == 1:
        known[height, width] = lambda rows: rows[..., None]
    if array.shape in known:
        array = array[None]
    return _of_form(task, Mapped.of(path, array), known)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mapped(Member):
    """An .npy file's array, memory-mapped."""

    array: NDArray[Any]

    @classmethod
    def of(cls, path: Path, array: NDArray[Any]) -> "Mapped":
        """The array of a file, at least one axis."""
        return cls(path=path, key=path.stem, shape=array.shape, dtype=array.dtype, fortran=False, array=array)

    def chunks(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (index of the first row, rows) in order; each chunk has 16 MiB or one row."""
        rows = max(1, _CHUNK_BYTES // max(1, self.array[0].nbytes))
        for first in range(0, len(self), rows):
            yield first, np.asarray(self.array[first : first + rows])


def _of_form(task: Task, member: Member, layouts: dict[tuple[int, ...], _Layout]) -> tuple[Member, _Layout]:
    if member.shape[1:] not in layouts:
        wanted = " or ".join(f"(n, {', '.join(map(str, shape))})" for shape in layouts)
        raise InputError(f"{member.where} has shape {member.shape}, {task.name} images are {wanted}")
    return member, layouts[member.shape[1:]]


def _array(member: Member, layout: _Layout, batch_size: int) -> Iterator[Batch]:
    scale = full_scale(member, ((first, layout(rows)) for first, rows in member.chunks()))
    for first, rows in member.chunks():
        images = to_pixels(member, layout(rows), scale, first)
        for start in range(0, len(images), batch_size):
            part = images[start : start + batch_size]
            yield row_names(member, first + start, len(part)), part
