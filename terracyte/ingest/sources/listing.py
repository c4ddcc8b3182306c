"""The files of a folder source: which picture has which class or mask."""

import dataclasses
from pathlib import Path

from terracyte.core.errors import InputError
from terracyte.tasks.task import Task

IMAGES, MASKS, UNLABELLED = "images", "masks", "unlabelled"
_SHOWN = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """A picture with its target.

    Attributes:
        image: its file.
        label: its class; None for tasks with masks.
        mask: the file of its mask; None for tasks with labels and for what is unlabelled.
    """

    image: Path
    label: int | None = None
    mask: Path | None = None


def labelled_samples(task: Task, root: Path) -> list[Sample]:
    """Files of `<root>/<class>/`, by class and then by name.

    A folder has the name of its class, whatever its case, spaces, hyphens and underscores, or the initials
    of a class of several words (the PBC set calls immature granulocytes `ig`).

    Raises:
        InputError: there is no folder for a class, or a folder for none.
    """
    folders = {path: _matching_label(path.name, task.classes) for path in visible(root) if path.is_dir()}
    unknown = [path.name for path, label in folders.items() if label is None]
    missing = [name for label, name in enumerate(task.classes) if label not in folders.values()]
    if unknown or missing:
        problems = [f"no folder for the classes {shown(missing)}"] * bool(missing)
        problems += [f"folders of no class: {shown(unknown)}"] * bool(unknown)
        raise InputError(f"{root} has {' and '.join(problems)}; a folder has the name of its class in params.yaml")
    by_class = sorted(folders.items(), key=lambda item: (item[1] or 0, item[0].name))
    return [Sample(image=path, label=label) for folder, label in by_class for path in visible(folder)]


def masked_samples(root: Path) -> list[Sample]:
    """Pairs of `<root>/images/` and `<root>/masks/` whose file names agree up to the suffix, by name.

    Raises:
        InputError: a folder is missing, or an image and a mask do not match.
    """
    images, masks = _by_stem(root / IMAGES), _by_stem(root / MASKS)
    unmatched = [f"{IMAGES}/{images[stem].name}" for stem in images.keys() - masks.keys()]
    unmatched += [f"{MASKS}/{masks[stem].name}" for stem in masks.keys() - images.keys()]
    if unmatched:
        raise InputError(
            f"{root}: {len(unmatched)} files have no partner of the same name in {IMAGES}/ or {MASKS}/: "
            f"{shown(sorted(unmatched))}; add or remove them"
        )
    return [Sample(image=images[stem], mask=masks[stem]) for stem in sorted(images)]


def visible(folder: Path) -> list[Path]:
    """Entries of a folder but hidden ones, by name.

    Raises:
        InputError: a name is not UTF-8, in which tables are written.
    """
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    for path in entries:
        try:
            path.name.encode()
        except UnicodeEncodeError as error:
            name = path.name.encode(errors="backslashreplace").decode()
            raise InputError(f"{folder} holds '{name}', whose name is not UTF-8: rename it") from error
    return entries


def hidden(root: Path) -> list[str]:
    """Hidden files and folders below `root`, relative to it."""
    return sorted(path.relative_to(root).as_posix() for path in root.rglob(".*"))


def shown(names: list[str]) -> str:
    """The first names of a list, for messages."""
    return ", ".join(names[:_SHOWN]) + (" …" if len(names) > _SHOWN else "")


def _matching_label(folder: str, classes: tuple[str, ...]) -> int | None:
    for label, name in enumerate(classes):
        words = name.split()
        initials = "".join(word[0] for word in words) if len(words) > 1 else name
        if _normalised(folder) in (_normalised(name), _normalised(initials)):
            return label
    return None


def _normalised(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter not in " _-")


def _by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(f"{folder} is missing; a folder source has {IMAGES}/ and {MASKS}/ with equal file names")
    found: dict[str, Path] = {}
    for path in visible(folder):
        if path.stem in found:
            raise InputError(f"{folder} holds {found[path.stem].name} and {path.name}; keep one of them")
        found[path.stem] = path
    return found
