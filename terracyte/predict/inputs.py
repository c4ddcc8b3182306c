"""Reads the input of `terracyte predict` in batches: a folder of pictures, one picture, an .npz or an .npy.

A picture is turned upright (EXIF) and brought to the task's channels: grey becomes RGB, colours become luma, opaque
alpha is dropped. An image of another size is refused, unless `resize` scales it as the task's `fit` says. More than 8
bits per channel and transparent pixels are refused, unless the task says how to read them. Arrays hold 0-255, or floats
that nowhere exceed 1, or what the task's `pixel_range` brings to 0-255.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from terracyte.core import npy
from terracyte.core.errors import InputError, tell
from terracyte.core.splits import split_of
from terracyte.ingest.sources.arrays import full_scale, row_names, to_pixels
from terracyte.ingest.sources.npz import MOST_ROWS, Member, members, names, require_small_rows
from terracyte.ingest.sources.npz_file import picture, split_names
from terracyte.ingest.sources.pictures import KINDS, SUFFIXES, UnreadableError, load_image
from terracyte.ingest.sources.resizing import Region, placement, resize_image
from terracyte.ingest.sources.tree import check_name, shown, walk
from terracyte.predict.outputs import MASKS, OVERLAYS, TABLE
from terracyte.tasks.task import Task

_CHUNK_BYTES = 16 * 2**20


@dataclasses.dataclass(frozen=True)
class Batch:
    """A batch of images to predict.

    Attributes:
        names: the names of the b images.
        images: (b, h, w, c), 0-255.
        regions: the part of each image that is the picture, without bars of padding; None if all of it is.
    """

    names: list[str]
    images: NDArray[np.uint8]
    regions: list[Region] | None = None


@dataclasses.dataclass
class Input:
    """All images to predict.

    Attributes:
        total: the number of images, unreadable ones included.
        batches: the images in order.
        left_out: names of the folder's files that are no pictures, or are results of an earlier prediction.
        unreadable: why each unreadable picture was skipped; grows while the batches are read.
    """

    total: int
    batches: Iterator[Batch]
    left_out: list[str] = dataclasses.field(default_factory=list)
    unreadable: list[str] = dataclasses.field(default_factory=list)


def read(task: Task, path: Path, batch_size: int, *, resize: bool = False, skip_unreadable: bool = False) -> Input:
    """Open images; their pixels are read when the batches are consumed.

    Args:
        task: the task that defines the images' shape.
        path: a folder (with sub-folders and links, without hidden entries and overlays that this command wrote), a
            picture, an .npz with `images` or `X`, with `test_images` or `x_test` and other splits' or, for tasks with
            masks, with the challenge's `test_set` or `training_set`, or an .npy.
        batch_size: images per batch.
        resize: scale images of other sizes to the task's, instead of refusing them.
        skip_unreadable: skip unreadable pictures, instead of refusing them.

    Raises:
        InputError: there is no image, or an array is unusable or has another shape; while the batches are consumed: a
            picture has another size or is unreadable, or an array holds pixels out of range.
    """
    if not path.exists():
        raise InputError(f"{path} is missing: name a folder of pictures, a picture, an .npz or an .npy")
    suffix = path.suffix.lower()
    if path.is_dir() or suffix in SUFFIXES:
        return _pictures(task, path, batch_size, resize, skip_unreadable)
    if suffix in (".npz", ".npy"):
        arrays = (_npz if suffix == ".npz" else _npy)(task, path, resize)
        batches = (batch for each in arrays for batch in _array_batches(task, *each, batch_size))
        return Input(total=sum(len(member) for member, _ in arrays), batches=batches)
    raise InputError(f"{path} is not a supported file: name a folder, a picture ({KINDS}), an .npz or an .npy")


def progressing(found: Input, doing: str) -> Iterator[Batch]:
    """Yield the batches under a progress bar that says what is being done."""
    with tqdm(total=found.total, desc=doing, unit="image", disable=None) as bar:
        for batch in found.batches:
            yield batch
            bar.update(len(batch.names))


def tell_omitted(found: Input) -> None:
    """Say on stderr which pictures were skipped and which files were left out, once all batches are read."""
    for reason in found.unreadable:
        tell(f"skipped: {reason}")
    if found.left_out:
        count, why = len(found.left_out), "not pictures, or results of an earlier prediction"
        tell(f"note: {count} files left out ({why}): {shown(found.left_out)}")


def _pictures(task: Task, path: Path, batch_size: int, resize: bool, skip_unreadable: bool) -> Input:
    """Open one picture, or all pictures of a folder."""
    check_name(path)
    root, total, found = path.parent, 1, iter([path])
    left_out: list[str] = []
    unreadable: list[str] = []
    if path.is_dir():
        # walked twice, so that no list of all pictures is in memory
        root, total, found = path, sum(1 for _ in _walk(path, left_out)), _walk(path, [])
        if not total:
            others = f", only {shown(left_out)}" if left_out else ""
            raise InputError(f"{path} holds no pictures ({KINDS}) to predict{others}: name the folder of the pictures")
    batches = _picture_batches(task, root, found, batch_size, resize, unreadable if skip_unreadable else None)
    return Input(total=total, batches=batches, left_out=left_out, unreadable=unreadable)


def _walk(folder: Path, left_out: list[str]) -> Iterator[Path]:
    """Yield the pictures below a folder, by name, without results of an earlier prediction; list the rest."""
    for path in walk(folder):
        if path.suffix.lower() in SUFFIXES and not _is_overlay(path, folder):
            yield path
        else:
            left_out.append(path.name)


def _is_overlay(path: Path, root: Path) -> bool:
    """Return whether a file lies in a folder of overlays or masks beside a table, as this command writes them."""
    inside = path.parents[: len(path.relative_to(root).parts)]
    return any(above.name in (OVERLAYS, MASKS) and (above.parent / TABLE).is_file() for above in inside)


def _picture_batches(
    task: Task, root: Path, paths: Iterator[Path], batch_size: int, resize: bool, skipped: list[str] | None
) -> Iterator[Batch]:
    """Yield pictures, decoded in threads; `skipped` collects why pictures are unreadable, None refuses those."""
    decode, any_readable = functools.partial(_decode, task, resize), False
    with ThreadPoolExecutor() as pool:
        while chunk := list(itertools.islice(paths, batch_size)):
            readable = []
            for path, decoded in zip(chunk, pool.map(decode, chunk), strict=True):
                if not isinstance(decoded, UnreadableError):
                    readable.append((path.relative_to(root).as_posix(), decoded))
                elif skipped is not None:
                    skipped.append(str(decoded))
                else:
                    raise InputError(f"{decoded}: repair or remove it, or give --skip-unreadable")
            if readable:
                any_readable = True
                names, images, regions = zip(*((name, *decoded) for name, decoded in readable), strict=True)
                yield Batch(list(names), np.stack(images), list(regions))
    if skipped and not any_readable:
        raise InputError(f"none of the pictures can be read: {shown(skipped)}")


def _decode(task: Task, resize: bool, path: Path) -> tuple[NDArray[np.uint8], Region] | UnreadableError:
    height, width, _ = task.image_shape
    try:
        picture = load_image(task, path).picture
    except UnreadableError as error:
        return UnreadableError(str(error))  # a new error: the traceback of the raised one keeps the picture in memory
    if not resize and picture.size != (width, height):
        raise InputError(
            f"{path} is {picture.width}x{picture.height} pixels, {task.name} images are {width}x{height} (width x "
            "height): give images of that size, or --resize to scale them"
        )
    return resize_image(task, picture), placement(task, picture.height, picture.width).filled


# Turns rows of an array into images (b, h, w, c).
_Layout = Callable[[NDArray[Any]], NDArray[Any]]


def _npz(task: Task, path: Path, resize: bool) -> list[tuple[Member, _Layout]]:
    present = names(path)
    for key in ("test_set", "training_set") if task.dense and "images" not in present else ():
        if key in present:
            (images,) = members(path, key)
            return [(images, _of_challenge(task, images))]
    splits = {key: name for key, name in split_names(present).items() if not name or split_of(name)}
    keys = [key for key, name in splits.items() if not name] or list(splits) or ["images"]
    return [(images, _channels_last(task, images, resize)) for images in members(path, *keys)]


def _npy(task: Task, path: Path, resize: bool) -> list[tuple[Member, _Layout]]:
    try:
        array = npy.mapped(path)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} is damaged, or not an array of plain numbers ({error})") from error
    if array.dtype.kind not in "iuf" or not array.size:
        raise InputError(
            f"{path} is {array.dtype} {array.shape}: it must hold at least one image, as integers or floats"
        )
    if _fits(task, array.shape, resize):
        array = array[None]  # a single image
    mapped = _MappedArray(path=path, key=path.stem, shape=array.shape, dtype=array.dtype, fortran=False, array=array)
    require_small_rows(mapped)
    return [(mapped, _channels_last(task, mapped, resize))]


def _fits(task: Task, shape: tuple[int, ...], resize: bool) -> bool:
    """Return whether a shape is that of one image (h, w, c), or (h, w) of a grey one; with `resize` of any size."""
    height, width, channels = task.image_shape
    forms = [(channels,), ()] if channels == 1 else [(channels,)]
    return len(shape) > 1 and shape[2:] in forms and (resize or shape[:2] == (height, width))


def _channels_last(task: Task, member: Member, resize: bool) -> _Layout:
    """Return the layout of an array (n, h, w, c), or (n, h, w) of grey images.

    Raises:
        InputError: the array has another shape, or with `resize` another number of channels.
    """
    size, channels = task.image_shape[:2], task.image_shape[2]
    if not _fits(task, member.shape[1:], resize):
        more = "; --resize scales images of other sizes" if _fits(task, member.shape[1:], resize=True) else ""
        raise _shape_error(task, member, [(*size, channels), size] if channels == 1 else [(*size, channels)], more)
    return lambda rows: rows.reshape(*rows.shape[:3], channels)


def _of_challenge(task: Task, member: Member) -> _Layout:
    """Return the layout of an array of the challenge: channels first, in `training_set` with the mask as the last.

    Raises:
        InputError: the array has another shape.
    """
    height, width, channels = task.image_shape
    wanted: list[tuple[int, ...]] = [(channels + (member.key == "training_set"), height, width)]
    if channels == 1 and member.key == "test_set":
        wanted.append((height, width))
    if member.shape[1:] not in wanted:
        raise _shape_error(task, member, wanted)
    return lambda rows: rows.reshape(len(rows), -1, height, width)[:, :channels].transpose(0, 2, 3, 1)


def _shape_error(task: Task, member: Member, wanted: Sequence[tuple[int, ...]], more: str = "") -> InputError:
    shapes = " or ".join(f"(n, {', '.join(map(str, shape))})" for shape in wanted)
    return InputError(f"{member.where} has shape {member.shape}: for {task.name} it must be {shapes}{more}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _MappedArray(Member):
    """An .npy file's array, memory-mapped."""

    array: NDArray[Any]

    def chunks(self, most: int = MOST_ROWS) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (index of the first row, rows) in order; each chunk has at most 16 MiB and `most` rows, or one row."""
        rows = max(1, min(most, _CHUNK_BYTES // max(1, self.array[0].nbytes)))
        for first in range(0, len(self), rows):
            yield first, np.asarray(self.array[first : first + rows])


def _array_batches(task: Task, member: Member, layout: _Layout, batch_size: int) -> Iterator[Batch]:
    scale = full_scale(task, member, ((first, layout(rows)) for first, rows in member.chunks()))
    for first, rows in member.chunks():
        images = to_pixels(member, layout(rows), scale, first)
        for start in range(0, len(images), batch_size):
            part = images[start : start + batch_size]
            regions = [placement(task, *part.shape[1:3]).filled] * len(part)
            names = row_names(member, first + start, len(part))
            yield Batch(names, np.stack([picture(task, image) for image in part]), regions)
