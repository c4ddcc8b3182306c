"""Measure how fast the server answers, and whether its memory grows, with real requests to a real server.

python -m benchmarks.serving blood [--clients 1 4 8] [--seconds 15] [--requests 10000]

Starts `terracyte serve` on a free port, sends it pictures (/predict) and arrays as JSON (/invocations), and ends it.
The clients run on the same cores, so a server with a machine of its own is faster.
"""

import argparse
import http.client
import io
import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from terracyte.core import paths
from terracyte.core.errors import InputError, guarded
from terracyte.core.listening import HOST
from terracyte.promote import champion
from terracyte.serve.examples import examples

_WARM_UP = 50  # requests
_STEPS = 5  # readings of the memory after the first one

Request = tuple[str, str, bytes]
"""Path, content type and body."""


def main() -> None:
    """Measure, and print what was found as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", help="name of a task in params.yaml")
    parser.add_argument("--model", type=Path, help="folder of the champion (data/TASK/champion)")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 8], help="at once (1 4 8)")
    parser.add_argument("--seconds", type=float, default=15, help="of each load (15)")
    parser.add_argument("--requests", type=int, default=10_000, help="between the readings of the memory (10000)")
    arguments = parser.parse_args()
    folder = arguments.model or paths.champion(arguments.task)
    pictures, arrays = requests(folder)
    with serving(arguments.task, folder) as (port, process):
        count(port, [*pictures, *arrays], 4, _WARM_UP)
        print("| request | clients | requests/s | median, ms | p99, ms | processor time each, ms |")
        print("| --- | --- | --- | --- | --- | --- |")
        for asked, clients in itertools.product((pictures, arrays), arguments.clients):
            before = _processor_time(process)
            seconds, taken = load(port, asked, clients, arguments.seconds)
            used = _processor_time(process) - before
            print(_row(asked[0][0], clients, seconds, taken, used), flush=True)
        # mostly pictures, as people send them
        readings = memory(process, lambda step: count(port, [*pictures, arrays[0]], 4, step), arguments.requests)
    print(f"\nMemory (RSS) before and during {arguments.requests} requests: {', '.join(readings)} MiB")


def requests(folder: Path) -> tuple[list[Request], list[Request]]:
    """Return requests of two kinds: pictures to /predict, and to /invocations one array each."""
    record = champion.read_record(folder)
    shape = (record["height"], record["width"], record["channels"])
    files = [each.png for each in examples(champion.task_of(record))] or [_noise(shape)]
    images = [np.asarray(Image.open(io.BytesIO(file))).reshape(shape) for file in files]
    arrays = [json.dumps({"inputs": [image.tolist()]}).encode() for image in images]
    as_pictures = [("/predict", "image/png", file) for file in files]
    return as_pictures, [("/invocations", "application/json", body) for body in arrays]


@contextmanager
def serving(task: str, folder: Path) -> Iterator[tuple[int, psutil.Process]]:
    """Yield the port and the process of a server that ends with the block.

    Raises:
        InputError: the server does not start.
    """
    command = [sys.executable, "-m", "terracyte.cli", "serve", task, "--port", "0", "--model", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield _port(server), psutil.Process(server.pid)
        finally:
            server.terminate()


def count(port: int, asked: Sequence[Request], clients: int, number: int) -> list[float]:
    """Send `number` requests; return the seconds that each took."""
    left = iter(range(number))
    return _send(port, asked, clients, lambda: next(left, None) is not None)


def load(port: int, asked: Sequence[Request], clients: int, seconds: float) -> tuple[float, list[float]]:
    """Send requests for `seconds`; return how long that really took, and the seconds of each request."""
    start = time.monotonic()
    taken = _send(port, asked, clients, lambda: time.monotonic() - start < seconds)
    return time.monotonic() - start, taken


def memory(process: psutil.Process, send: Callable[[int], object], number: int) -> list[str]:
    """Send `number` requests; return the MiB that the process holds before them and after each fifth of them."""
    readings = [_resident(process)]
    for _ in range(_STEPS):
        send(number // _STEPS)
        readings.append(_resident(process))
    return readings


def _send(port: int, asked: Sequence[Request], clients: int, go_on: Callable[[], bool]) -> list[float]:
    taken: list[float] = []
    failures: list[str] = []

    def client(first: int) -> None:
        connection = http.client.HTTPConnection(HOST, port, timeout=60)
        waiting = itertools.islice(itertools.cycle(asked), first, None)
        while not failures and go_on():
            start = time.perf_counter()
            failures.extend(_failure(connection, *next(waiting)))
            taken.append(time.perf_counter() - start)
        connection.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise InputError(f"a request failed: {failures[0]}: look at the server's messages above")
    return taken


def _failure(connection: http.client.HTTPConnection, path: str, kind: str, body: bytes) -> list[str]:
    """Send a request; return an empty list if it was answered, else the reason why not."""
    try:
        connection.request("POST", path, body, {"content-type": kind})
        response = connection.getresponse()
        answer = response.read()
    except (OSError, http.client.HTTPException) as error:
        return [f"{path}: {error}"]
    return [] if response.status == 200 else [f"{path}: {response.status} {answer[:200]!r}"]


def _row(path: str, clients: int, seconds: float, taken: list[float], used: float) -> str:
    median, late = 1000 * np.quantile(taken, [0.5, 0.99])
    each = 1000 * used / len(taken)
    return f"| {path} | {clients} | {len(taken) / seconds:.1f} | {median:.0f} | {late:.0f} | {each:.0f} |"


def _processor_time(process: psutil.Process) -> float:
    """Return the server's processor time in seconds, which other work on the machine hardly affects."""
    times = process.cpu_times()
    return times.user + times.system


def _port(server: "subprocess.Popen[str]") -> int:
    for line in server.stdout or ():
        if f"http://{HOST}:" in line:
            return int(line.split(f"http://{HOST}:")[1].split()[0])
    raise InputError("the server did not start: its message stands above")


def _resident(process: psutil.Process) -> str:
    family = [process, *process.children(recursive=True)]
    return f"{sum(each.memory_info().rss for each in family) / 2**20:.0f}"


def _noise(shape: tuple[int, int, int]) -> bytes:
    stream = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    Image.fromarray(noise[..., 0] if shape[2] == 1 else noise).save(stream, "png")
    return stream.getvalue()


if __name__ == "__main__":
    guarded(main)
