"""Downloads: resumed where they stopped, verified by a checksum, moved into place when complete."""

import queue
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Literal
from urllib.parse import urlparse

from tqdm import tqdm

from terracyte.core import hashing, processes
from terracyte.core.errors import InputError

_TIMEOUT = (10, 60)  # seconds to connect, and between two chunks of the answer
_CHUNK_BYTES = 2**16
_PARTIAL_CONTENT, _METHOD_NOT_ALLOWED, _RANGE_NOT_SATISFIABLE = 206, 405, 416  # HTTP status


def fetch(url: str, checksum: str, folder: Path) -> Path:
    """Return the file of `url` in `folder`, downloading it where it is not there yet.

    What an interrupted download left behind (`<name>.part`) is continued by an HTTP range request.

    Args:
        url: the file's URL; the last part of its path becomes the file's name.
        checksum: MD5 (32 hex digits) or SHA-256 (64) of the file's bytes.
        folder: the folder that keeps files; a file that was put there by hand is not downloaded.

    Raises:
        InputError: `url` names no file, the existing or downloaded file has another checksum, or the download failed;
            the message then says which file to put where.
    """
    target = folder / _name(url)
    if target.exists():
        _verify(target, checksum)
        return target
    partial = target.with_name(f"{target.name}.part")
    with processes.alone(folder / f".{target.name}.lock", f"another download of {target.name}"):
        if target.exists():  # downloaded by the other process
            return target
        try:
            _download(url, partial)
        except ConnectionError as error:
            raise InputError(
                f"{url} could not be downloaded ({error}): run again to continue where it stopped, "
                f"or put the file ({_algorithm(checksum).upper()} sum {checksum}) at {target}"
            ) from error
        _verify(partial, checksum)
        partial.replace(target)
    return target


def _name(url: str) -> str:
    try:
        name = Path(urlparse(url).path).name
    except ValueError:
        name = ""
    if name in ("", ".."):
        raise InputError(f"'{url}' is not the URL of a file: use one like https://host/folder/name")
    return name


def await_answer(url: str, timeout: float) -> None:
    """Wait until the server confirms that `url` exists.

    A thread sends the request, and is abandoned when the time is up: without a network the DNS look-up of the host
    ignores the timeout of a connection, and each address found has a timeout of its own.

    Raises:
        ConnectionError: there is no answer within `timeout` seconds, or the request failed.
    """
    import requests

    problems: queue.Queue[str] = queue.Queue()

    def ask() -> None:
        try:
            response = requests.head(url, timeout=timeout)
            there = response.ok or response.status_code == _METHOD_NOT_ALLOWED
            problems.put("" if there else f"HTTP status {response.status_code}")
        except requests.RequestException as error:
            problems.put(type(error).__name__)

    threading.Thread(target=ask, daemon=True).start()
    try:
        problem = problems.get(timeout=timeout)
    except queue.Empty:
        problem = f"no answer within {timeout:g} s"
    if problem:
        raise ConnectionError(problem)


def _verify(path: Path, checksum: str) -> None:
    algorithm = _algorithm(checksum)
    got = hashing.checksum(path, algorithm)
    if got != checksum:
        raise InputError(
            f"{path} has the {algorithm.upper()} sum {got} instead of {checksum}; delete it and run again, or put the "
            "right file there"
        )


def _algorithm(checksum: str) -> Literal["md5", "sha256"]:
    return "md5" if len(checksum) == 32 else "sha256"


def _download(url: str, partial: Path) -> None:
    """Download the part of the file that `partial` lacks, and append it.

    Raises:
        ConnectionError: no answer, an HTTP status of failure, or a broken connection.
    """
    import requests  # imported here: offline sources do not need it

    size = partial.stat().st_size if partial.exists() else 0
    # Without "identity" a server may compress, and ranges would count compressed bytes.
    headers = {"Accept-Encoding": "identity", "Range": f"bytes={size}-"}
    try:
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
            if response.status_code == _RANGE_NOT_SATISFIABLE:
                return  # the file is complete
            if not response.ok:
                raise ConnectionError(f"HTTP status {response.status_code}")
            done = size if response.status_code == _PARTIAL_CONTENT else 0
            told = response.headers.get("Content-Length", "")
            length = int(told) if told.isdecimal() else 0
            _append(partial, done, response.iter_content(_CHUNK_BYTES), length)
    except requests.RequestException as error:
        raise ConnectionError(type(error).__name__) from error


def _append(partial: Path, done: int, chunks: Iterable[bytes], length: int) -> None:
    """Write `chunks` (of `length` bytes in all, 0 if unknown) behind the first `done` bytes."""
    total, label = done + length if length else None, f"downloading {partial.stem}"
    with (
        partial.open("ab" if done else "wb") as stream,
        tqdm.wrapattr(stream, "write", total, initial=done, desc=label, disable=None) as file,
    ):
        for chunk in chunks:
            file.write(chunk)
