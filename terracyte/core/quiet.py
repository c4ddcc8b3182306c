"""Imports of large libraries without what nobody here uses of them; Keras' also without TensorFlow's start-up messages,
which come before it reads its own log level, and with threads of which the result does not depend."""

import gc
import os
import sys
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from terracyte.core.errors import InputError

_STDERR = 2
_BACKEND = "KERAS_BACKEND"
# TensorFlow divides its sums among its threads, of which it makes one per core.
THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
# TensorFlow takes all memory of a GPU at its start, where several trainings share one: it takes what it needs instead.
_GROWTH = "TF_FORCE_GPU_ALLOW_GROWTH"
# Keras wraps models for these where they are installed, as MLflow has it. Nobody here uses that, and their import takes
# a quarter of Keras' own, in every stage.
_NOT_NEEDED = ("sklearn", "matplotlib")


@contextmanager
def importing_keras(all_cores: bool = False) -> Iterator[None]:
    """Import Keras, and drop what native code writes to stderr until the end of the block; exceptions of Python pass.

    Args:
        all_cores: TensorFlow computes on all of them, and what it gives depends on their number. Otherwise it has one
            thread, as long as the user's variables (`THREADS`) do not say more: the same bytes on any number of cores,
            and several trainings side by side get more out of the cores than one after another on all of them.

    Raises:
        InputError: the backend that is asked for is not installed.
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
    """Import within the block without some modules, which nobody here needs of what is imported.

    What is imported already stays, and what is imported later is whole.

    Args:
        absent: as if they were not installed.
        empty: modules with nothing in them, for importers that insist.
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
    except (ImportError, ValueError) as error:  # a ValueError for what is no backend at all
        chosen = os.environ.get(_BACKEND)
        where = f"the variable {_BACKEND} is '{chosen}'" if chosen else "the backend that ~/.keras/keras.json names"
        raise InputError(
            f"Keras cannot start: {where}, which is not installed ({error}): install it, or set {_BACKEND}=tensorflow"
        ) from error
