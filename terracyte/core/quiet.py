"""Import large libraries without the modules that nobody here uses; import Keras also without TensorFlow's start-up
messages, which come before it reads its own log level, and with a thread count that does not affect results."""

import gc
import os
import sys
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from terracyte.core.errors import InputError

_STDERR = 2
_BACKEND = "KERAS_BACKEND"
# TensorFlow divides sums among its threads, by default one per core, so their number affects rounding.
THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
# By default TensorFlow reserves all GPU memory at its start; growing on demand lets several trainings share a GPU.
_GROWTH = "TF_FORCE_GPU_ALLOW_GROWTH"
# Keras imports these for wrappers and plots where they are installed, and MLflow installs them. Nobody here uses
# these, and their import takes a quarter of Keras' own import time, in every stage.
_NOT_NEEDED = ("sklearn", "matplotlib")


@contextmanager
def importing_keras(all_cores: bool = False) -> Iterator[None]:
    """Import Keras, and discard all output to stderr until the end of the block; Python exceptions propagate.

    Args:
        all_cores: let TensorFlow compute on all cores; its results then depend on their number. Otherwise it has one
            thread unless the user's variables (`THREADS`) say more: results are the same bytes on any number of
            cores, and trainings side by side use the cores better than one after another on all of them.

    Raises:
        InputError: the selected backend is not installed.
    """
    if not all_cores:
        for name in THREADS:
            os.environ.setdefault(name, "1")
    os.environ.setdefault(_GROWTH, "true")
    sys.stderr.flush()
    kept = os.dup(_STDERR)
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, _STDERR)
        _import_keras()
        yield
    finally:
        os.dup2(kept, _STDERR)
        os.close(nothing)
        os.close(kept)


@contextmanager
def importing_less(absent: Sequence[str] = (), empty: Sequence[str] = ()) -> Iterator[None]:
    """Hide modules that nobody here needs from the imports within the block.

    Modules imported before the block stay, and imports after it find the hidden modules again.

    Args:
        absent: modules to hide as if they were not installed.
        empty: modules to replace by empty ones, for importers that fail without them.
    """
    stand_ins = dict.fromkeys(absent) | {name: types.ModuleType(name) for name in empty}
    hidden = [name for name in stand_ins if name not in sys.modules]
    collecting = gc.isenabled()
    gc.disable()  # an import leaves no garbage, and looking for it again and again takes a sixth of the time
    sys.modules.update({name: stand_ins[name] for name in hidden})  # type: ignore[misc]  # None: cannot be imported
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
        if collecting:
            gc.enable()


def _import_keras() -> None:
    try:
        with importing_less(absent=_NOT_NEEDED):
            import keras  # noqa: F401
    except (ImportError, ValueError) as error:  # a ValueError for an unknown backend
        chosen = os.environ.get(_BACKEND)
        where = f"the variable {_BACKEND} is '{chosen}'" if chosen else "the backend that ~/.keras/keras.json names"
        raise InputError(
            f"Keras cannot start: {where}, which is not installed ({error}): install it, or set {_BACKEND}=tensorflow"
        ) from error
