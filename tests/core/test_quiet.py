"""Native chatter is dropped, Python's own words are not."""

import os

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
