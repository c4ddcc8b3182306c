"""dvc.lock, in which git keeps the checksums of an experiment's outputs, which it does not store themselves."""

import hashlib
import json
from pathlib import Path
from typing import Any

from terracyte.core import files
from terracyte.core.errors import InputError
from terracyte.core.hashing import checksum

LOCK = Path("dvc.lock")


def check(path: Path) -> bool:
    """Compare an output with the dvc.lock of the experiment to which it belongs.

    Args:
        path: file or folder of one of the experiment's outputs.

    Returns:
        Whether a dvc.lock records the output.

    Raises:
        InputError: the output differs from what the lock records, or the lock is damaged.
    """
    here = path.absolute()
    experiment = next((folder for folder in here.parents if (folder / LOCK).is_file()), None)
    if experiment is None:
        return False
    wanted = here.relative_to(experiment).as_posix()
    # a killed DVC may have left a truncated entry, which `terracyte repro` repairs
    outputs = (output for stage in stages(experiment).values() for output in stage.get("outs") or [])
    recorded = next((output.get("md5") for output in outputs if output.get("path") == wanted), None)
    if recorded is not None and recorded != md5(path):
        raise InputError(
            f"{path} differs from {LOCK}: restore it with `dvc checkout {path}`, or make it again with `dvc repro`"
        )
    return recorded is not None


def stages(folder: Path) -> dict[str, Any]:
    """Return an experiment's stages as recorded in its dvc.lock, by name; empty if none are recorded.

    Raises:
        InputError: the dvc.lock is damaged.
    """
    # Imported here because `--help` needs no YAML.
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    lock = folder / LOCK
    if not lock.exists():
        return {}
    with files.advising(f"restore it with `git checkout {lock}`"):
        text = files.read_text(lock)
    if files.has_conflict(text):
        raise InputError(f"{lock} has an unresolved git merge conflict: keep one of its two sides")
    try:
        content = YAML(typ="safe").load(text)  # with libyaml, as there are thousands of lines
    except YAMLError:
        content = None
    found = content.get("stages", {}) if isinstance(content, dict) else None
    if not (isinstance(found, dict) and all(isinstance(stage, dict) for stage in found.values())):
        raise InputError(f"{lock} is damaged: restore it with `git checkout {lock}`")
    return found


def md5(path: Path) -> str:
    """Return a file's MD5, or a folder's as DVC computes it: over the MD5 and relative path of each file in it."""
    if not path.is_dir():
        return checksum(path, "md5")
    names = sorted(each.relative_to(path).as_posix() for each in path.rglob("*") if each.is_file())
    listed = [{"md5": checksum(path / name, "md5"), "relpath": name} for name in names]
    return f"{hashlib.md5(json.dumps(listed).encode(), usedforsecurity=False).hexdigest()}.dir"
