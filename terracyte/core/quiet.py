"""Keeps TensorFlow's start-up messages off the screen: they are written before any setting of it is read."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_STDERR = 2


@contextmanager
def importing_keras() -> Iterator[None]:
    """Drop what native code writes to stderr; a Python error that happens meanwhile is shown as ever."""
    sys.stderr.flush()
    kept = os.dup(_STDERR)
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, _STDERR)
        yield
    finally:
        os.dup2(kept, _STDERR)
        os.close(nothing)
        os.close(kept)
