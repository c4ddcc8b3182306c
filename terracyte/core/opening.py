"""Check that reading from a path comes to an end."""

import stat
from pathlib import Path


def require_file(path: Path) -> None:
    """Refuse a pipe, a socket or a device, reading from which might never end. A missing file passes; opening it fails.

    Raises:
        ValueError: the path is one of these.
    """
    if path.exists() and not (stat.S_ISREG(path.stat().st_mode) or path.is_dir()):
        raise ValueError("it is a pipe, a socket or a device, not a file")
