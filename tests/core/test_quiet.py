"""Messages of native libraries are dropped; Python's own output is not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from terracyte.core import quiet


def write_natively(text: bytes) -> None:
    os.write(2, text)


def fail_while_importing() -> None:
    with quiet.importing_keras():
        write_natively(b"chatter")
        raise ImportError("no such module")


def test_native_messages_are_dropped_within_and_shown_after(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet.importing_keras():
        write_natively(b"chatter")
    write_natively(b"shown")
    assert capfd.readouterr().err == "shown"


def test_an_error_gets_through_and_stderr_is_back(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ImportError, match="no such module"):
        fail_while_importing()
    write_natively(b"shown")
    assert capfd.readouterr().err == "shown"


def test_there_is_one_thread_but_for_who_wants_all_cores_and_what_the_user_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in quiet.THREADS:
        monkeypatch.delenv(name)
    monkeypatch.setenv(quiet.THREADS[0], "3")
    with quiet.importing_keras(all_cores=True):
        pass
    assert [os.environ.get(name) for name in quiet.THREADS] == ["3", *[None] * len(quiet.THREADS[1:])]
    with quiet.importing_keras():
        pass
    assert [os.environ.get(name) for name in quiet.THREADS] == ["3", *["1"] * len(quiet.THREADS[1:])]


def in_a_new_process(code: str, **variables: str) -> str:
    """Run the code in a new Python process, and return what it prints to stdout and stderr."""
    result = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )
    return result.stdout + result.stderr


def test_a_missing_backend_is_one_line() -> None:
    code = """
from terracyte.core import errors, quiet
def main():
    with quiet.importing_keras():
        pass
errors.guarded(main)
"""
    (line,) = in_a_new_process(code, KERAS_BACKEND="openvino").splitlines()
    assert line.startswith("error: Keras cannot start: the variable KERAS_BACKEND is 'openvino', which is not")


def test_keras_is_what_the_project_needs_it_to_be(tmp_path: Path) -> None:
    """Keras' own settings file changes no network, and modules left out of its import can be imported later."""
    settings = {"floatx": "float16", "epsilon": 0.1, "image_data_format": "channels_first", "backend": "tensorflow"}
    (tmp_path / "keras.json").write_text(json.dumps(settings))
    code = """
import sys
from terracyte.core import quiet
with quiet.importing_keras():
    import keras, terracyte.models
layer = keras.layers.Conv2D(4, 3)
print(keras.config.floatx(), keras.config.epsilon(), layer.data_format, layer.compute_dtype)
print("sklearn" in sys.modules, "matplotlib" in sys.modules)
import sklearn
print(sklearn.__name__)
"""
    printed = in_a_new_process(code, KERAS_HOME=str(tmp_path), TF_CPP_MIN_LOG_LEVEL="3")
    assert printed.splitlines()[-3:] == ["float32 1e-07 channels_last float32", "False False", "sklearn"]


def test_what_is_left_out_of_an_import_is_whole_afterwards() -> None:
    code = """
import gc, sys
from terracyte.core import quiet
with quiet.importing_less(absent=["colorsys"], empty=["scipy.stats", "json"]):
    try:
        import colorsys
    except ImportError:
        print("absent", gc.isenabled())
    from scipy import stats
    import json
print(hasattr(stats, "norm"), hasattr(json, "loads"), "scipy.stats" in sys.modules)
import colorsys
from scipy import stats
print(colorsys.__name__, hasattr(stats, "norm"), gc.isenabled())
"""
    printed = in_a_new_process("import json\n" + code).splitlines()
    assert printed == ["absent False", "False True False", "colorsys True True"]
