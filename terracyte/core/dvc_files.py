"""Repair DVC's own files: it writes them in place, so a killed DVC leaves fragments, which the next DVC refuses."""

import fcntl
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from terracyte.core import files


def own_folder(folder: Path) -> Path | None:
    """Return the `.dvc` of the repository that a folder belongs to, as DVC finds it; None before `dvc init`."""
    here = folder.resolve()
    return next((each / ".dvc" for each in (here, *here.parents) if (each / ".dvc").is_dir()), None)


def mend(folder: Path) -> None:
    """Repair what a killed DVC has left of dvc.lock, of its list of locks (`rwlock`) and of its run cache.

    An incomplete last entry of dvc.lock is removed. A stage without an entry is out of date; what it made of the same
    inputs before is in DVC's cache.

    Args:
        folder: the experiment's folder.
    """
    own = own_folder(folder)
    if own is None or not (own / "tmp").is_dir():  # no DVC has run here
        return
    state = own / "tmp"
    with _holding(state / "rwlock.lock"), suppress(FileNotFoundError):
        listed = state / "rwlock"
        try:
            json.loads(listed.read_bytes())
        except ValueError:
            listed.unlink()
    with _holding(state / "lock"):
        with suppress(FileNotFoundError):
            _cut(folder / "dvc.lock")
        for of_stage in (own / "cache/runs").glob("*/*"):
            with suppress(OSError):  # not empty: it holds a run
                of_stage.rmdir()


@contextmanager
def _holding(lock: Path) -> Iterator[None]:
    """Hold one of DVC's locks; wait until no running DVC holds it."""
    with lock.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _cut(lock: Path) -> None:
    """Remove the last entry if the file ends within it; DVC itself reports anything else wrong with the file."""
    text = lock.read_text(encoding="utf-8")
    starts = [found.start() for found in re.finditer(r"^  \S", text, re.MULTILINE)]
    # an entry ends with its outputs; importing DVC's schema takes a third of a second
    if text.endswith("\n") and starts and "\n    outs:\n    - " in text[starts[-1] :]:
        return
    if _is_whole(text):
        return
    if len(starts) < 2:
        lock.unlink()
    elif _is_whole(kept := text[: starts[-1]]):
        files.write_text(lock, kept)


def _is_whole(text: str) -> bool:
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError
    from voluptuous import Invalid

    try:
        COMPILED_LOCKFILE_SCHEMA(YAML(typ="safe").load(text))
    except (YAMLError, Invalid):
        return False
    return True
