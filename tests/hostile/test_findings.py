"""Errors that fuzzing found and that no file of the corpus shows."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from terracyte.core import download
from terracyte.core.errors import InputError
from terracyte.ingest import sources
from terracyte.ingest.sources import folder, npz_file
from terracyte.ingest.sources.listing import Sample
from terracyte.ingest.sources.pictures import UnreadableError, load_image
from terracyte.params import Source
from tests.hostile.corpus.pictures import noise, saved
from tests.pictures import BLOOD


@pytest.mark.parametrize("width", [13, 16, 160])
def test_a_bmp_is_not_taken_for_one_of_16_bits_by_the_length_of_its_rows(width: int) -> None:
    content = saved(Image.new("L", (width, 3), 9), "BMP")
    assert load_image(BLOOD, Path("x"), io.BytesIO(content)).picture.size == (width, 3)


def test_thumbnails_grow_in_batches_that_memory_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npz_file, "_BATCH_BYTES", 10 * 48 * 48 * 3)
    np.savez(tmp_path / "x.npz", images=np.zeros((25, 1, 1, 3), np.uint8), labels=np.arange(25) % 3)
    batches = sources.read(BLOOD, Source(source="npz", path=str(tmp_path / "x.npz")))
    assert [len(batch.images) for batch in batches] == [10, 10, 5]


def test_a_refused_picture_is_not_held(tmp_path: Path) -> None:
    """Its error is kept until all pictures are read, and the traceback of a raised error would keep the pixels."""
    noise("RGBA").save(tmp_path / "x.png")
    outcome = folder._load(BLOOD, Source(source="folder", path="x"), None, Sample(image=tmp_path / "x.png"))
    assert isinstance(outcome, UnreadableError)
    assert outcome.__traceback__ is None


@pytest.mark.parametrize("url", ["http://[", "", "http://localhost", "http://localhost/.."])
def test_an_address_without_a_file_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not the URL of a file"):
        download.fetch(url, "0" * 32, tmp_path)
