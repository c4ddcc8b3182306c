"""The MedMNIST download, tested with a local server on 127.0.0.1."""

import hashlib
import io
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from terracyte import params
from terracyte.core import processes
from terracyte.core.download import fetch
from terracyte.core.errors import InputError
from tests.ingest.conftest import SIZE, Declare, Ingest, Refusal

TARGET = Path("data/downloads/bloodmnist_64.npz")
PARTIAL = Path("data/downloads/bloodmnist_64.npz.part")
FIRST = 2**16  # bytes that an interrupted download left


class Server(ThreadingHTTPServer):
    """A server of one file.

    Attributes:
        content: the file's bytes.
        ranges: whether the server supports range requests.
        limit: number of bytes after which the connection breaks.
        status: the HTTP status of every answer; 200 stands for the one that fits the request (200, 206 or 416).
        requested: the `Range` header of each request; None for a request without one.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.ranges, self.limit, self.status = content, True, len(content), 200
        self.requested: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/files/bloodmnist_64.npz?download=1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.requested.append(asked)
        found = re.fullmatch(r"bytes=(\d+)-", asked or "") if self.server.ranges else None
        start = int(found.group(1)) if found else 0
        body = self.server.content[start:]
        status = 416 if start and not body else 206 if found else 200
        self.send_response(status if self.server.status == 200 else self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.limit])

    def log_message(self, *args: Any) -> None:
        """Stay silent: the tests count lines on stderr."""


@pytest.fixture
def arrays() -> dict[str, Any]:
    """The arrays of a small BloodMNIST of edge length 64."""
    generator, found = np.random.default_rng(0), {}
    for split, count in (("train", 6), ("val", 2), ("test", 1)):
        found[f"{split}_images"] = generator.integers(0, 256, (count, 64, 64, 3), np.uint8)
        found[f"{split}_labels"] = (np.arange(count, dtype=np.uint8) % 3)[:, None]
    return found


@pytest.fixture
def content(arrays: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server(content: bytes, declare: Declare) -> Iterator[Server]:
    """A running server whose file is declared as blood's source."""
    with Server(content) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        declare_index(server.url, content, declare)
        yield server
        server.shutdown()
        thread.join()


def declare_index(url: str, content: bytes, declare: Declare) -> None:
    checksum = hashlib.md5(content).hexdigest()
    Path("index.yaml").write_text(f'64: {{url: "{url}", md5: {checksum}}}\n')
    declare("blood", source="medmnist", path="index.yaml", download_size=64)


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(content)


def test_all_splits_are_joined_and_resized(server: Server, ingest: Ingest, arrays: dict[str, Any]) -> None:
    images, manifest = ingest("blood")
    assert images.shape == (9, SIZE, SIZE, 3)
    assert manifest["label"].tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 0]
    assert manifest["name"].iloc[[0, 6, 8]].tolist() == ["train_images[0]", "val_images[0]", "test_images[0]"]
    means = np.concatenate([arrays[f"{split}_images"] for split in ("train", "val", "test")]).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(images.mean(axis=(1, 2, 3)), means, atol=1)
    assert "declared_split" not in manifest


def test_the_file_is_downloaded_once(server: Server, ingest: Ingest, content: bytes) -> None:
    ingest("blood")
    ingest("blood")
    assert len(server.requested) == 1
    assert TARGET.read_bytes() == content
    assert not PARTIAL.exists()


def test_a_partial_download_is_continued(server: Server, ingest: Ingest, content: bytes) -> None:
    put(PARTIAL, content[:FIRST])
    ingest("blood")
    assert server.requested == [f"bytes={FIRST}-"]
    assert TARGET.read_bytes() == content


def test_a_complete_partial_download_is_kept(server: Server, ingest: Ingest, content: bytes) -> None:
    put(PARTIAL, content)
    ingest("blood")
    assert TARGET.read_bytes() == content


def test_a_server_without_ranges_starts_over(server: Server, ingest: Ingest, content: bytes) -> None:
    server.ranges = False
    put(PARTIAL, content[:FIRST])
    ingest("blood")
    assert TARGET.read_bytes() == content


def test_a_broken_connection_is_told_and_continued(server: Server, project: Path, content: bytes) -> None:
    checksum = hashlib.md5(content).hexdigest()
    server.limit = FIRST
    with pytest.raises(InputError, match="run again to continue where it stopped"):
        fetch(server.url, checksum, TARGET.parent)
    assert PARTIAL.read_bytes() == content[: PARTIAL.stat().st_size]
    server.limit = len(content)
    assert fetch(server.url, checksum, TARGET.parent).read_bytes() == content
    assert server.requested[1] == f"bytes={FIRST}-"


def test_another_download_of_the_file_is_waited_for(
    server: Server, project: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    checksum = hashlib.md5(content).hexdigest()
    second = threading.Thread(target=fetch, args=(server.url, checksum, TARGET.parent))
    with processes.alone(TARGET.with_name(f".{TARGET.name}.lock"), "nobody"):
        second.start()
        second.join(0.1)
        assert second.is_alive()
        TARGET.write_bytes(content)
    second.join(5)
    assert not server.requested
    assert capsys.readouterr().err == f"waiting for another download of {TARGET.name}\n"


def test_another_file_than_promised_is_refused(server: Server, refusal: Refusal) -> None:
    server.content = b"something else"
    line = refusal("blood")
    assert f"{PARTIAL} has the MD5 sum {hashlib.md5(b'something else').hexdigest()} instead of " in line
    assert not TARGET.exists()


def test_a_failing_server_is_told(server: Server, refusal: Refusal) -> None:
    server.status = 404
    assert "could not be downloaded (HTTP status 404)" in refusal("blood")


def test_without_a_network_the_line_says_which_file_to_put_where(
    declare: Declare, refusal: Refusal, content: bytes
) -> None:
    declare_index("http://127.0.0.1:1/bloodmnist_64.npz", content, declare)  # nothing listens there
    line = refusal("blood")
    assert "could not be downloaded (ConnectionError)" in line
    assert f"put the file (MD5 sum {hashlib.md5(content).hexdigest()}) at {TARGET}" in line


def test_a_file_put_there_by_hand_needs_no_network(declare: Declare, ingest: Ingest, content: bytes) -> None:
    declare_index("http://nowhere.invalid/bloodmnist_64.npz", content, declare)
    put(TARGET, content)
    assert len(ingest("blood")[0]) == 9


def test_a_wrong_file_put_there_is_refused(declare: Declare, refusal: Refusal, content: bytes) -> None:
    declare_index("http://nowhere.invalid/bloodmnist_64.npz", content, declare)
    put(TARGET, b"wrong")
    assert f"{TARGET} has the MD5 sum {hashlib.md5(b'wrong').hexdigest()} instead of " in refusal("blood")
    assert TARGET.exists()


def test_mars_has_no_medmnist(declare: Declare, refusal: Refusal) -> None:
    declare("mars", source="medmnist", path="data/sources/medmnist.yaml")
    assert "'sources.mars.source' is 'medmnist', which has no masks" in refusal("mars")


def test_an_index_without_the_size_is_refused(declare: Declare, refusal: Refusal) -> None:
    Path("index.yaml").write_text("128: {url: x, md5: y}\n")
    declare("blood", source="medmnist", path="index.yaml", download_size=64)
    assert "index.yaml must give 'url' and 'md5' for images of 64x64 pixels" in refusal("blood")


@pytest.mark.parametrize("size", [64, 128, 224])
def test_the_index_names_a_file_per_size(project: Path, size: int) -> None:
    entry = params.read_yaml(Path("data/sources/medmnist.yaml"))[size]
    assert entry["url"].startswith("https://zenodo.org/records/")
    assert entry["url"].endswith(f"/bloodmnist_{size}.npz")
    assert re.fullmatch("[0-9a-f]{32}", entry["md5"])
