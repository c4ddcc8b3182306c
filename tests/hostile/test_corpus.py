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
    found, read, name, seen = dict[str, str](), READERS[reader].read, READERS[reader].name, set[bytes | str]()
    for case, build in cases.items():
        path = folder / case / "given" / name
        path.parent.mkdir(parents=True)
        monkeypatch.chdir(folder / case)  # `terracyte new` refuses a folder that holds the project
        build(path)
        content = path.read_bytes() if path.is_file() else case
        if content in seen:  # most cases change only one of the YAML files, and leave the others as they are
            continue
        seen.add(content)
        try:
            with bounded(), timed(_SECONDS):
                outcome(read, path)
        except Exception as error:
            found[case] = repr(error)[:300]
        if Path("pwned").exists() or path.with_name("pwned").exists():
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


@pytest.mark.parametrize("reader", READERS)
def test_each_reader_reads_a_sound_input(reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that refuses every input, or gets only those that it refuses at once, would pass all other tests."""
    known, path = READERS[reader], tmp_path / "given" / READERS[reader].name
    path.parent.mkdir()
    monkeypatch.chdir(tmp_path)
    CORPUS[known.family][known.sound](path)
    assert outcome(known.read, path) == ""


def test_the_bounds_hold(tmp_path: Path) -> None:
    """Too much memory or time is an error; if it were not, the other tests would prove nothing."""
    with pytest.raises(MemoryError), bounded(2**26):
        bytes(2**31)  # other threads may free some memory meanwhile
    with pytest.raises(TimeoutError), timed(0.01):
        time.sleep(1)
    with contextlib.suppress(FileNotFoundError):
        outcome(Path.read_text, tmp_path / "missing")
