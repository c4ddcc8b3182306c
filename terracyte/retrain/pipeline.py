"""DVC's part of a retraining: which stages run, and what is fetched and pushed."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

from terracyte.core.errors import InputError

_RAN = re.compile(r"(?m)^Running stage '([^']+)'")
_CACHED = re.compile(r"(?m)^Stage '([^']+)' is cached")


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
    listed = subprocess.run(
        ["git", "grep", "-l", "^frozen: true", "--", "*.dvc"], capture_output=True, text=True, check=False
    )
    imports = tuple(listed.stdout.splitlines())
    if imports:
        _dvc("update", *imports)
    return imports


def score(pull: bool) -> Run:
    """Bring all scores up to date: run what is out of date up to `evaluate`; no champion can change by it.

    Args:
        pull: fetch from the remote what a stage needs, and nothing that no stage needs.

    Raises:
        InputError: a stage failed; its own message stands above.
    """
    if not pull:
        _check_out_sources()
    return _repro(*(["--pull", "--allow-missing"] if pull else []), "evaluate")


def finish(pull: bool) -> Run:
    """Run everything that is out of date, `promote` among it.

    Args:
        pull: fetch all outputs first where something is to run. Stages after `evaluate` depend on whole folders, and
            `dvc repro --pull` finds no output of such a name.

    Raises:
        InputError: a stage failed, or the remote cannot be reached.
    """
    if pull:
        planned = _completed("repro", "--dry", "--allow-missing")
        # the plan fails where a stage is to run whose inputs were not fetched yet
        if not planned.returncode and not _RAN.search(planned.stdout):
            return Run()
        _dvc("pull", "--allow-missing")
    # imported data whose source went on cannot be fetched as it was, and needs not
    return _repro(*(["--allow-missing"] if pull else []))


def push() -> None:
    """Send outputs and run cache to the remote, so that nobody runs the same stages again.

    DVC 3.67 leaves out what runs wrote with `cache: false`, such as scores, although it keeps them in its local cache;
    without them no other clone can take a run from the run cache.
    """
    # Imported here: it takes a second.
    from dvc.repo import Repo

    _dvc("push", "--run-cache")
    with Repo() as repo, repo.lock:
        entries = [(path.parent.name, path.name) for path in Path(repo.stage_cache.cache_dir).glob("*/*/*")]
        for objects in repo.stage_cache.get_used_objs(entries).values():
            repo.cloud.push({each for each in objects if repo.cache.local.exists(each.value)})


def metrics_difference(commit: str) -> str:
    """What `dvc metrics diff` says of the scores, as Markdown; empty where nothing changed."""
    return _dvc("metrics", "diff", "--md", commit).strip()


def plots_difference(commit: str, folder: str) -> str:
    """Write DVC's page of plots, before and after, to `folder`; its address."""
    return _dvc("plots", "diff", commit, "--out", folder)


def _check_out_sources() -> None:
    """Bring data that a .dvc file tracks from the cache where it is missing: the run cache knows stages only."""
    missing = [file for file in _files("ls-files", "*.dvc") if not Path(file).with_suffix("").exists()]
    if missing:
        _dvc("checkout", *missing)


def _files(*arguments: str) -> tuple[str, ...]:
    """The files that a git command lists."""
    return tuple(subprocess.run(["git", *arguments], capture_output=True, text=True, check=False).stdout.splitlines())


def _repro(*arguments: str) -> Run:
    """Run `dvc repro` and show what it says."""
    ran, cached = [], []
    command = [sys.executable, "-m", "dvc", "repro", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            ran += _RAN.findall(line)
            cached += _CACHED.findall(line)
    if process.returncode:
        last = f"the last stage to run: {ran[-1]}" if ran else "no stage ran"
        raise InputError(f"`dvc repro` ended with exit code {process.returncode} ({last}): its message stands above")
    return Run(tuple(ran), tuple(cached))


def _dvc(*arguments: str) -> str:
    result = _completed(*arguments)
    if result.returncode:
        raise InputError(f"`dvc {arguments[0]}` failed: {(result.stderr.strip() or 'no message').splitlines()[-1]}")
    return result.stdout


def _completed(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True, check=False)
