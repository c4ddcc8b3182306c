"""Files from the web: checked, resumed, and never half there."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlparse

from tqdm import tqdm

from terracyte.errors import InputError

_TIMEOUT = (10, 60)  # seconds to connect, and between two pieces of the answer
_PIECE = 2**16
_PARTIAL_CONTENT, _RANGE_NOT_SATISFIABLE = 206, 416  # HTTP status


def fetch(url: str, md5: str, folder: Path) -> Path:
    """Return the file of `url` in `folder`, downloading it where it is not there yet.

    What an interrupted download left behind (`<name>.part`) is continued by an HTTP range request.

    Args:
        url: of the file; the last part of its path becomes the file's name.
        md5: of the file's bytes, 32 hex digits.
        folder: where files are kept; one put there by hand makes the network unnecessary.

    Raises:
        InputError: the file there or the downloaded one has another checksum, or the download failed;
            the message says which file to put where.
    """
    target = folder / Path(urlparse(url).path).name
    if not target.exists():
        partial = target.with_name(f"{target.name}.part")
        folder.mkdir(parents=True, exist_ok=True)
        try:
            _download(url, partial)
        except ConnectionError as error:
            raise InputError(
                f"{url} could not be downloaded ({error}): run again to continue where it stopped, "
                f"or put the file (MD5 sum {md5}) at {target}"
            ) from error
        _check(partial, md5)
        partial.replace(target)
    else:
        _check(target, md5)
    return target


def _check(path: Path, md5: str) -> None:
    with path.open("rb") as file:
        # A checksum against damage, not a signature: that is why MD5 will do.
        got = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if got != md5:
        raise InputError(
            f"{path} has the MD5 sum {got} instead of {md5}; delete it and run again, or put the right file there"
        )


def _download(url: str, partial: Path) -> None:
    """Append to `partial` what it lacks of the file.

    Raises:
        ConnectionError: no answer, an answer of failure, or a broken connection.
    """
    import requests  # here, since offline sources need it not

    size = partial.stat().st_size if partial.exists() else 0
    # Without "identity" a server may compress, and ranges would count compressed bytes.
    headers = {"Accept-Encoding": "identity", "Range": f"bytes={size}-"}
    try:
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
            if response.status_code == _RANGE_NOT_SATISFIABLE:
                return  # nothing is lacking
            if not response.ok:
                raise ConnectionError(f"HTTP status {response.status_code}")
            done = size if response.status_code == _PARTIAL_CONTENT else 0
            length = int(response.headers.get("Content-Length", 0))
            _append(partial, done, response.iter_content(_PIECE), length)
    except requests.RequestException as error:
        raise ConnectionError(type(error).__name__) from error


def _append(partial: Path, done: int, pieces: Iterable[bytes], length: int) -> None:
    """Write `pieces` (of `length` bytes in all, 0 if unknown) behind the first `done` bytes."""
    progress = tqdm(
        desc=f"downloading {partial.stem}",
        initial=done,
        total=done + length if length else None,
        unit="B",
        unit_scale=True,
        disable=None,
    )
    with progress, partial.open("ab" if done else "wb") as file:
        for piece in pieces:
            file.write(piece)
            progress.update(len(piece))
