"""Keeps TensorFlow's start-up messages off the screen: it writes them before it reads its own log level."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_STDERR = 2


@contextmanager
def importing_keras() -> Iterator[None]:
    """Drop what native code writes to stderr while the block runs; exceptions of Python pass."""
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
