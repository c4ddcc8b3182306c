"""DVC's part of a retraining: which stages run, and what is fetched and pushed."""

import dataclasses
import re
import subprocess
import sys
from collections.abc import Sequence

from terracyte.errors import InputError

_PROMOTE = "promote"
_EDGE = re.compile(r'"([^"]+)" -> "([^"]+)";')
_RAN = re.compile(r"^Running stage '([^']+)'")
_CACHED = re.compile(r"^Stage '([^']+)' is cached")


@dataclasses.dataclass(frozen=True)
class Run:
    """What `dvc repro` did.

    Attributes:
        ran: the stages that ran, in order.
        cached: those whose outputs came from the run cache instead.
    """

    ran: tuple[str, ...] = ()
    cached: tuple[str, ...] = ()

    def __add__(self, other: "Run") -> "Run":
        return Run(self.ran + other.ran, self.cached + other.cached)

    @property
    def trained(self) -> tuple[str, ...]:
        """The variants that were trained."""
        return tuple(stage.removeprefix("train@") for stage in self.ran if stage.startswith("train@"))


def has_remote() -> bool:
    """Whether DVC has a remote storage to pull from and push to."""
    return bool(_dvc("remote", "list").strip())


def update_imports() -> tuple[str, ...]:
    """Bring data that `dvc import-url` tracks up to its source; the .dvc files that were asked."""
    listed = subprocess.run(["git", "grep", "-l", "^frozen: true", "--", "*.dvc"], capture_output=True, text=True)
    imports = tuple(listed.stdout.splitlines())
    if imports:
        _dvc("update", *imports)
    return imports


def without_promotion() -> list[str]:
    """The stages that do not come after `promote`, and are not `promote` themselves.

    Groups of stages are named as one: DVC reads its lock file anew for each target, 4 s for each of 80.
    """
    graph = _dvc("dag", "--dot")
    edges = {(above.partition("@")[0], below.partition("@")[0]) for above, below in _EDGE.findall(graph)}
    held = {_PROMOTE}
    while new := {below for above, below in edges if above in held} - held:
        held |= new
    stages = dict.fromkeys(name.partition("@")[0] for name in _dvc("stage", "list", "--all", "--name-only").split())
    return [name for name in stages if name not in held]


def repro(targets: Sequence[str], pull: bool) -> Run:
    """Run what is out of date, showing what DVC says.

    Args:
        targets: stages; none for all.
        pull: fetch what is needed from the remote, and nothing that no stage needs.

    Raises:
        InputError: a stage failed; its own message stands above.
    """
    options = ["--pull", "--allow-missing"] if pull else []
    command = [sys.executable, "-m", "dvc", "repro", *options, *targets]
    ran, cached = [], []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            ran += _RAN.findall(line)
            cached += _CACHED.findall(line)
    if process.returncode:
        last = f"stage {ran[-1]} failed" if ran else "nothing ran"
        raise InputError(f"`dvc repro` ended with exit code {process.returncode} ({last}): its message stands above")
    return Run(tuple(ran), tuple(cached))


def push() -> None:
    """Send outputs and run cache to the remote, so that nobody runs the same stages again."""
    _dvc("push", "--run-cache")


def metrics_difference(commit: str) -> str:
    """What `dvc metrics diff` says of the scores, as Markdown; empty where nothing changed."""
    return _dvc("metrics", "diff", "--md", commit).strip()


def plots_difference(commit: str, folder: str) -> None:
    """Write DVC's page of plots, before and after, to `folder`."""
    _dvc("plots", "diff", commit, "--out", folder)


def _dvc(*arguments: str) -> str:
    result = subprocess.run([sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True, check=False)
    if result.returncode:
        raise InputError(f"`dvc {arguments[0]}` failed: {(result.stderr.strip() or 'no message').splitlines()[-1]}")
    return result.stdout
