"""The submission of a task with labels: a zip with `model.py`, which the challenge runs, and the model."""

import zipfile
from pathlib import Path

from terracyte.core import files

_CODE = Path(__file__).with_name("model.py")
_READABLE = 0o644 << 16  # permissions, where zip keeps them


def write(model: Path, path: Path) -> None:
    """Pack the code and a saved model, atomically; the same model gives the same bytes."""
    with files.atomic(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, source in (("model.py", _CODE), ("model.keras", model)):
            # a ZipInfo of its own carries the earliest date of the format, not the clock's
            entry = zipfile.ZipInfo(name)
            entry.external_attr = _READABLE
            archive.writestr(entry, source.read_bytes())
