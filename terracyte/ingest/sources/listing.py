"""The files of a folder source: the pictures, with the class or mask of each."""

import collections
import dataclasses
import functools
import os
import re
from pathlib import Path

from terracyte.core.errors import InputError, tell
from terracyte.core.splits import split_of
from terracyte.ingest.sources import columns
from terracyte.ingest.sources.pictures import KINDS, SUFFIXES
from terracyte.ingest.sources.tree import below, shown, visible, walk
from terracyte.params import Source
from terracyte.params.schema import check_keys
from terracyte.tasks.task import Task

UNLABELLED = "unlabelled"  # a folder of pictures without masks
LEFT_OUT = -1  # takes the place of a label for images that are left out
OF_MASK = re.compile(r"[ _-](masks?|seg|segmentation|label|gt)$", re.IGNORECASE)  # the end of a mask's name


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """A picture with its target.

    Attributes:
        image: the picture's file.
        label: the picture's class; None for tasks with masks.
        mask: the mask's file; None for tasks with labels and for unlabelled pictures.
        split: the split given to the picture (`terracyte.core.splits`); "" for none.
    """

    image: Path
    label: int | None = None
    mask: Path | None = None
    split: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listing:
    """What a folder source holds.

    Attributes:
        samples: pictures with their targets.
        incomplete: messages about files without their image or mask.
        notes: further messages for the user.
    """

    samples: list[Sample]
    incomplete: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)


def labelled_samples(task: Task, source: Source, root: Path) -> Listing:
    """List the files below `<root>/<class>/` or `<root>/<split>/<class>/`, by class and then by path.

    A folder's name is that of its class (case, spaces, hyphens and underscores do not matter) or the initials
    of a class of several words (the PBC set calls immature granulocytes `ig`); `class_of` may declare others.

    Raises:
        InputError: a class has no folder, a folder has no class, or see `class_parents` and `split_folders`.
    """
    names = [path.name for path in visible(root) if path.is_dir()]
    of_classes = all(label_of(task, source, name) is not None for name in names)  # classes may be named like splits
    parents = class_parents(root, {} if of_classes else split_folders(root))
    folders = {
        path: label_of(task, source, path.name) for parent in parents for path in visible(parent) if path.is_dir()
    }
    unknown = [path.relative_to(root).as_posix() for path, label in folders.items() if label is None]
    missing = [name for label, name in enumerate(task.classes) if label not in folders.values()]
    if unknown or missing:
        problems = [f"no folder for the classes {shown(missing)}"] * bool(missing)
        problems += [f"folders of unknown classes: {shown(unknown)}"] * bool(unknown)
        raise InputError(
            f"{root} has {' and '.join(problems)}; name each folder like its class in params.yaml, or give its class "
            f"in 'sources.{task.name}.class_of' in experiment.yaml"
        )
    kept = [(label, folder) for folder, label in folders.items() if label is not None and label != LEFT_OUT]
    return Listing(
        samples=[
            Sample(image=path, label=label, split=parents[folder.parent])
            for label, folder in sorted(kept)
            for path in walk(folder)
        ]
    )


def class_parents(root: Path, splits: dict[Path, str]) -> dict[Path, str]:
    """Return the folders that hold one folder per class, with their splits: those in `splits`, or else `root`.

    Pictures beside the folders of classes have no class; a warning on stderr names them.

    Raises:
        InputError: a split's folder holds pictures and no folders.
    """
    parents = splits or {root: ""}
    for parent in parents:
        loose = [path.name for path in visible(parent) if path.suffix.lower() in SUFFIXES and not path.is_dir()]
        if loose and parent in splits and not any(path.is_dir() for path in visible(parent)):
            raise InputError(
                f"{parent} holds {len(loose)} pictures but no class folders: sort the pictures into one folder per "
                "class, or move this folder elsewhere"
            )
        if loose:
            tell(f"warning: {parent}: left out: {len(loose)} pictures beside the class folders: {shown(loose)}")
    return parents


def listed_samples(task: Task, source: Source, root: Path, sheet: str) -> Listing:
    """List the files that a CSV file (`file,label`) names, in the order of its rows.

    Raises:
        InputError: the CSV file is unusable, or a label is missing or no class.
    """
    path = root / sheet
    samples, incomplete, named = [], [], set()
    meaning = functools.cache(functools.partial(label_of, task, source))
    for name, cell in columns.read(path, root, "label").items():
        named.add(image := columns.named(root, name))
        label = meaning(cell)
        if not cell:
            raise InputError(f"{path}: '{name}' has no label; fill it in, or remove the line")
        if label is None:
            raise InputError(
                f"{path}: '{name}' has the unknown label '{cell}'; it must be one of {', '.join(task.classes)}"
            )
        if label == LEFT_OUT:
            continue
        if image.exists():
            samples.append(Sample(image=image, label=label))
        else:
            incomplete.append(f"{path} names '{name}', which is missing")
    return Listing(samples=samples, incomplete=incomplete, notes=_untold(task, source, root, named))


def _untold(task: Task, source: Source, root: Path, named: set[Path]) -> list[str]:
    """Return messages about pictures that the CSV file does not name, and about unused folders of splits."""
    # names need not be UTF-8 here: these files are not read
    found = (Path(each.path) for each in below(root) if Path(each.name).suffix.lower() in SUFFIXES)
    rest = sorted(os.path.relpath(path, root) for path in found if path not in named)
    rest = [name for name in rest if not any(part.startswith(".") for part in Path(name).parts)]
    splits = sorted(path.name for path in root.iterdir() if path.is_dir() and split_of(path.name))
    notes = [
        f"warning: {root / str(source.labels)}: left out: {len(rest)} pictures that it does not list: {shown(rest)}"
    ]
    return notes * bool(rest) + [
        f"note: {root}: the folders {shown(splits)} do not count as splits, since a CSV file gives the labels; to use "
        f"a split, name a column of that file in 'sources.{task.name}.split_column' in experiment.yaml"
    ] * (bool(splits) and source.split_column is None)


def paired_samples(root: Path, images: str, masks: str) -> Listing:
    """List pairs of pictures and masks, of all splits if folders give any.

    Args:
        root: the source's folder.
        images, masks: folders in `root` or in each `<root>/<split>/`; or both hold the splits: `<images>/<split>/`.

    Raises:
        InputError: a picture lies outside the split folders, or see `masked_samples` and `split_folders`.
    """
    parts = {} if (root / images).is_dir() else split_folders(root, UNLABELLED)
    if parts:
        listings = [(masked_samples(part / images, part / masks), split) for part, split in parts.items()]
        return Listing(
            samples=[dataclasses.replace(each, split=split) for listing, split in listings for each in listing.samples],
            incomplete=[problem for listing, _ in listings for problem in listing.incomplete],
            notes=[note for listing, _ in listings for note in listing.notes],
        )
    listing = masked_samples(root / images, root / masks)
    inner = split_folders(root / images)
    parents = [[inner[folder] for folder in each.image.parents if folder in inner] for each in listing.samples]
    splits = [above[0] if above else "" for above in parents]
    if not any(splits):
        return listing
    if "" in splits:
        stray = listing.samples[splits.index("")].image
        folders = shown([path.name for path in inner])
        raise InputError(f"{stray} is in none of the split folders {folders}: move it into one of them")
    samples = [dataclasses.replace(each, split=split) for each, split in zip(listing.samples, splits, strict=True)]
    return dataclasses.replace(listing, samples=samples)


def split_folders(root: Path, *others: str) -> dict[Path, str]:
    """Return the folders named like splits, with their splits; empty if at most one lies among other folders.

    Args:
        root: the folder to look in.
        others: names of folders that may lie beside those of splits.

    Raises:
        InputError: several folders are named like splits and others are not, or see `visible`.
    """
    folders = [path for path in visible(root) if path.is_dir() and path.name not in others]
    splits = {path: split_of(path.name) for path in folders}
    known = {path: split for path, split in splits.items() if split is not None}
    if len(known) == len(folders):
        return known
    if len(known) > 1:
        names, strange = ([path.name for path in folders if (path in known) == ours] for ours in (True, False))
        raise InputError(
            f"{root} holds the splits {shown(names)}, but also folders that are not splits: {shown(strange)}; move or "
            "rename them"
        )
    return {}


def masked_samples(images: Path, masks: Path) -> Listing:
    """List pairs of pictures and masks whose paths below the two folders agree except for the suffix, by path.

    The mask of `x.jpg` may also be called `x_mask.png`, or with another ending in `OF_MASK`, if only one is.

    Raises:
        InputError: a folder is missing, two files in a folder differ only in their suffix, or no file has a partner.
    """
    (pictures, beside_images), (of_masks, beside_masks) = _by_stem(images), _by_stem(masks)
    beside = [path.as_posix() for path in (*beside_images, *beside_masks)]
    near = collections.defaultdict(list)
    for stem in sorted(of_masks.keys() - pictures):
        near[OF_MASK.sub("", stem)].append(stem)
    for plain, stems in near.items():
        if len(stems) == 1 and plain in pictures and plain not in of_masks:
            of_masks[plain] = of_masks.pop(stems[0])
    lonely = [
        f"{len(names)} files in {ours} without a partner of the same name in {other}: {shown(names)}"
        for own, theirs, ours, other in ((pictures, of_masks, images, masks), (of_masks, pictures, masks, images))
        if (names := [own[stem].relative_to(ours).as_posix() for stem in sorted(own.keys() - theirs)])
    ]
    stems = sorted(pictures.keys() & of_masks.keys())
    if lonely and not stems:
        raise InputError(
            f"{' and '.join(lonely)}; a mask must have the name of its image, except for the suffix and an "
            "ending as in x_mask.png"
        )
    return Listing(
        samples=[Sample(image=pictures[stem], mask=of_masks[stem]) for stem in stems],
        incomplete=lonely,
        notes=[f"note: left out: {len(beside)} files that are no pictures: {shown(beside)}"] * bool(beside),
    )


def label_of(task: Task, source: Source, given: str) -> int | None:
    """Return a name's class, `LEFT_OUT`, or None if it has no single class; exact matches precede similar ones."""
    declared = {columns.normal(name): meant for name, meant in source.class_of.items()}
    if columns.normal(given) in declared:
        meant = declared[columns.normal(given)]
        if meant is None:
            return LEFT_OUT
        check_keys([meant], task.classes, f"sources.{task.name}.class_of.{given}", "experiment.yaml")
        given = meant
    if given in task.classes:
        return task.classes.index(given)
    initials = ["".join(word[0] for word in name.split()) if len(name.split()) > 1 else name for name in task.classes]
    for names in (task.classes, initials):
        alike = [label for label, name in enumerate(names) if alike_form(name) == alike_form(given)]
        if alike:
            return alike[0] if len(alike) == 1 else None
    return None


def alike_form(name: str) -> str:
    """Return a name without case, hyphens between letters, and blanks and underscores that do not separate digits.

    Other hyphens are kept, since they have a meaning, as in -1, CD4- and 1-2.
    """
    plain = columns.normal(name).casefold().replace("_", " ")
    return re.sub(r"(?<!\d) | (?!\d)", "", re.sub(r"(?<=[^\W\d])(?:-| - )(?=[^\W\d])", "", plain))


def _by_stem(folder: Path) -> tuple[dict[str, Path], list[Path]]:
    """Return the pictures below a folder by their paths without suffix, and the files that are no pictures."""
    if not folder.is_dir():
        raise InputError(
            f"{folder} is missing; a source with masks needs a folder of images and one of masks, with the same "
            "file names"
        )
    found: dict[str, Path] = {}
    others = []
    for path in walk(folder):
        if path.suffix.lower() not in SUFFIXES:  # such as polygons, from which the mask was drawn
            others.append(path)
            continue
        stem = columns.normal(path.relative_to(folder).with_suffix("").as_posix())
        if stem in found:
            raise InputError(f"{folder} holds {found[stem].name} and {path.name}; keep one of them")
        found[stem] = path
    if others and not found:
        raise InputError(f"{folder} holds no {KINDS} files, only others: {shown([path.name for path in others])}")
    return found, others
