"""Two Ray nodes on this machine, each with its own processes, so that a test can kill one of them."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.conftest import ROOT, wait_for

# Settings that nodes and drivers must share; Ray reads them when it is imported.
AUTHENTICATION = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
os.environ.update(AUTHENTICATION)

_STORE = 100 * 2**20  # bytes of each node's object store


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports: list[int] = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


class Node:
    """A Ray node: the process of `ray start --block` and all processes that it has started."""

    def __init__(self, folder: Path, name: str, *arguments: str) -> None:
        self.folder = folder / name
        self.folder.mkdir()
        command = [str(Path(sys.executable).with_name("ray")), "start", "--block", *arguments]
        command += ["--num-cpus=1", f"--object-store-memory={_STORE}", "--disable-usage-stats"]
        # a node has neither the project's folder nor its code; the cluster notices a lost node within seconds
        environment = {
            **{name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
            **AUTHENTICATION,
            "TMPDIR": str(self.folder),
            "PYTHONPATH": str(folder / "code"),
            "RAY_raylet_start_wait_time_s": "600",
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_failure_threshold": "3",
        }
        with (self.folder / "log").open("w") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def processes(self) -> list[psutil.Process]:
        return [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]

    def has_finished_an_epoch(self) -> bool:
        return any(self.folder.glob("terracyte/*/data/checkpoints/*/*/epoch_*"))

    def kill(self) -> None:
        """Kill all processes of the node at once, as if its machine was lost."""
        if self.process.poll() is None:
            for process in self.processes():
                with contextlib.suppress(psutil.NoSuchProcess):  # workers end by themselves when their raylet dies
                    process.send_signal(signal.SIGKILL)
        self.process.wait()


class Cluster:
    """A cluster of a head node, to which drivers connect, and a worker node.

    Attributes:
        address, client: the cluster's address for drivers on this machine, and for drivers from outside.
        nodes: all nodes that were started, lost ones too; the head is the first.
    """

    def __init__(self, folder: Path) -> None:
        self._port, client = free_ports(2)
        self.address, self.client = f"127.0.0.1:{self._port}", f"ray://127.0.0.1:{client}"
        self.nodes: list[Node] = []
        self._folder = folder

    @property
    def worker(self) -> Node:
        """The node that was started last."""
        return self.nodes[-1]

    def start(self) -> None:
        """Start both nodes."""
        (self._folder / "code").mkdir()
        # the modules of the tests' own jobs; drivers upload `terracyte` themselves
        shutil.copytree(ROOT / "tests", self._folder / "code" / "tests")
        client = self.client.rpartition(":")[2]
        self._add("--head", f"--port={self._port}", f"--ray-client-server-port={client}")
        self.add_worker()

    def add_worker(self) -> None:
        """Start a worker, the first one or in place of a lost one."""
        self._add(f"--address={self.address}")

    def _add(self, *arguments: str) -> None:
        node = Node(self._folder, str(len(self.nodes)), *arguments)
        self.nodes.append(node)
        wait_for(lambda: node.process.poll() is not None or "Ray runtime started" in node.log(), seconds=900)
        assert node.process.poll() is None, node.log()


@contextmanager
def started() -> Iterator[Cluster]:
    # Ray's sockets lie below this folder, and the paths of sockets must be short
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    cluster = Cluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        for node in cluster.nodes:
            node.kill()
        shutil.rmtree(folder, ignore_errors=True)
