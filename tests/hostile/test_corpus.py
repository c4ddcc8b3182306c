"""Each input of the corpus is read, or refused with one line, within seconds and a gigabyte."""

import contextlib
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.hostile.corpus import CORPUS, SLOW
from tests.hostile.corpus.writing import Build
from tests.hostile.guard import bounded, outcome, timed
from tests.hostile.readers import READERS

# The readers that process most of a family's inputs; the others share most of their code, and take minutes in all.
FIRST = (
    "picture",
    "mask",
    "npz-labels",
    "npz-masks",
    "predict-npy",
    "labels",
    "index",
    "own-json",
    "torch",
    "new-folder",
)
_SECONDS = 10.0  # for one input

# Pillow's warnings about metadata, which the command line does not show either
pytestmark = pytest.mark.filterwarnings(r"ignore::UserWarning:PIL\..*", r"ignore::RuntimeWarning:PIL\..*")


def findings(reader: str, cases: Mapping[str, Build], folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return the cases that are neither read nor refused, and what happens instead."""
    found, read, name = {}, READERS[reader].read, READERS[reader].name
    for case, build in cases.items():
        path = folder / case / name
        path.parent.mkdir()
        monkeypatch.chdir(path.parent)
        build(path)
        try:
            with bounded(), timed(_SECONDS):
                outcome(read, path)
        except Exception as error:
            found[case] = repr(error)[:300]
        if Path("pwned").exists():
            found[case] = "it ran what the file says"
        monkeypatch.chdir(folder)
        # pytest removes old folders with Python's rmtree, which fails on the deepest of these
        subprocess.run(["rm", "-rf", case], check=True)
    return found


@pytest.mark.parametrize("reader", FIRST)
def test_hostile_inputs_end_with_a_line(reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert findings(reader, CORPUS[READERS[reader].family], tmp_path, monkeypatch) == {}


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_every_reader_ends_with_a_line(reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    family = READERS[reader].family
    assert findings(reader, CORPUS[family] | SLOW.get(family, {}), tmp_path, monkeypatch) == {}


def test_the_corpus_is_large() -> None:
    assert sum(map(len, CORPUS.values())) >= 100
    assert {reader.family for reader in READERS.values()} == set(CORPUS)


def test_sound_inputs_are_read(tmp_path: Path) -> None:
    """A reader that refuses everything would pass all other tests."""
    for reader, case in (("new-folder", "sound-classes"), ("folder", "sound-classes"), ("folder-masks", "sound-masks")):
        CORPUS["tree"][case](tmp_path / reader)
        assert outcome(READERS[reader].read, tmp_path / reader) == ""
    for reader, case in (("splits", "sound"), ("npz-labels", "names-outside"), ("torch", "sound")):
        folder = tmp_path / reader
        folder.mkdir()
        CORPUS[READERS[reader].family][case](folder / READERS[reader].name)
        assert outcome(READERS[reader].read, folder / READERS[reader].name) == ""


def test_the_bounds_hold(tmp_path: Path) -> None:
    """Too much memory or time is an error; if it were not, the other tests would prove nothing."""
    with pytest.raises(MemoryError), bounded(2**26):
        bytes(2**31)  # other threads may free some memory meanwhile
    with pytest.raises(TimeoutError), timed(0.01):
        time.sleep(1)
    with contextlib.suppress(FileNotFoundError):
        outcome(Path.read_text, tmp_path / "missing")
