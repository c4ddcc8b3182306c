"""What may be opened: reading from it ends."""

import stat
from pathlib import Path


def require_file(path: Path) -> None:
    """Refuse a pipe, a socket or a device, which might be read for ever. Whether it is missing, opening it tells.

    Raises:
        ValueError: it is such.
    """
    if path.exists() and not (stat.S_ISREG(path.stat().st_mode) or path.is_dir()):
        raise ValueError("it is a pipe, a socket or a device, no file")
