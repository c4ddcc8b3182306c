"""Test each stage of a finished experiment with a full disk, a read-only one, Ctrl-C, SIGTERM: docs/benchmarks.md.

python -m benchmarks.faults                       # in the root of a finished experiment; Linux, as root
python -m benchmarks.faults --only mars train     # only these tasks and stages

The experiment is copied onto a small disk in memory, where each stage runs again and again. A stage handles a fault if
it prints at most one line besides warnings, ends with the fault's exit code (2, 130, 143, or killed by the signal),
leaves every output as it was and no temporary files, and gives the same bytes when it runs once more. A stage that is
interrupted too late ends with 0.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from terracyte import params
from terracyte.core import paths
from terracyte.core.errors import InputError, guarded
from terracyte.core.hashing import file_hash

_FREE = (0, 8, 64, 256, 1024, 4096, 16384)  # KiB; the last ones are enough for a small experiment
_SIZE = "1g"
_INTERRUPTIONS = 6
_FIRST = 0.15  # seconds; earlier, Python itself is still starting
_COPIED = ("params.yaml", "experiment.yaml", "dvc.yaml", "stages", "terracyte", "data", "metrics")
# folders that no stage declares: MLflow's record, progress that is resumed, pages that show the time
_UNDECLARED = {"mlflow", "checkpoints", "optuna", "docs"}
_CODES = {signal.SIGINT: (0, 130, -2), signal.SIGTERM: (0, 143, -15)}

Tree = dict[str, str]


def main() -> None:
    """Print a table: for each stage, how often it handled each fault, and its message on a full disk."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], help="tasks and stages, such as mars train (all)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of interruption")
    arguments = parser.parse_args()
    commands = _commands(arguments.only)
    moments = random.Random(arguments.seed)
    print("| stage | full disk | read-only | Ctrl-C, SIGTERM | the disk is full: what it says |\n|---|---|---|---|---|")
    with _small_disk() as disk:
        for each in commands:
            stage = _Stage(disk, each)
            full, words = stage.fill_disk()
            cells = (" ".join(each), full, stage.forbid_writing(), stage.interrupt(moments), words)
            print(f"| {' | '.join(cells)} |", flush=True)


def _commands(only: Sequence[str]) -> Iterator[Sequence[str]]:
    settings = params.load()
    tasks = [task for task in settings.task_names if task in only or not set(only) & set(settings.task_names)]
    stages = set(only) - set(settings.task_names)
    found: list[Sequence[str]] = [("fetch",)]
    for task in tasks:
        found += [(stage, task) for stage in ("ingest", "validate", "clean", "balance", "tune", "configure")]
        found += [(stage, row) for row in settings.rows_of(task) for stage in ("train", "evaluate")]
        found += [(stage, task) for stage in ("promote", "report", "submit")]
    return (each for each in found if not stages or each[0] in stages)


@contextmanager
def _small_disk() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as place:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", place]
        if subprocess.run(mount, check=False).returncode:
            raise InputError("a small disk cannot be mounted: run this as root, on Linux")
        try:
            for name in _COPIED:
                if Path(name).is_dir():
                    shutil.copytree(name, Path(place, name), ignore=shutil.ignore_patterns("mlflow", "__pycache__"))
                else:
                    shutil.copy(name, place)
            Path(place, "tmp").mkdir()
            yield Path(place)
        finally:
            subprocess.run(["umount", place], check=True)


class _Stage:
    """A stage on the small disk."""

    def __init__(self, disk: Path, command: Sequence[str]) -> None:
        self._disk = disk
        self._command = [sys.executable, "-B", f"stages/{command[0]}.py", *command[1:]]
        self._environment = {**os.environ, "PYTHONPATH": str(disk), "TMPDIR": str(disk / "tmp")}
        start = time.monotonic()
        self._run_soundly()
        self._seconds = time.monotonic() - start
        self._outputs = self._tree()

    def fill_disk(self) -> tuple[str, str]:
        """Run with ever more room until a run succeeds; return how many were handled, and the first one's message."""
        tally, first = Counter[bool](), ""
        for room in _FREE:
            self._forget_search()
            with self._ballast(1024 * room):
                code, said = self._run()
            if code == 0:
                break
            tally[code == 2 and self._is_borne(said)] += 1
            first = first or said.strip().splitlines()[-1]
            self._run_soundly()
            tally[False] += self._tree() != self._outputs
        return _share(tally), first.replace(str(self._disk), "…")

    def forbid_writing(self) -> str:
        """Make the disk read-only and run the stage; return whether that was handled."""
        remount = ["mount", "-o", "remount", str(self._disk)]
        subprocess.run([*remount, "-o", "ro"], check=True)
        code, said = self._run()
        subprocess.run([*remount, "-o", "rw"], check=True)
        return _share(Counter([code == 2 and self._is_borne(said)]))

    def interrupt(self, moments: random.Random) -> str:
        """Interrupt the stage at random moments; return how many interruptions it handled."""
        tally = Counter[bool]()
        for number in range(_INTERRUPTIONS):
            kind = signal.SIGTERM if number % 3 == 0 else signal.SIGINT
            with self._started() as process:
                time.sleep(moments.uniform(_FIRST, max(self._seconds, 2 * _FIRST)))
                os.killpg(process.pid, kind)
                _, said = process.communicate()
            borne = process.returncode in _CODES[kind] and self._is_borne(said)
            if not borne:
                print(f"{self._command[2:]} {kind.name} {process.returncode}: {said[-2000:]}", file=sys.stderr)
            tally[borne] += 1
        self._run_soundly()
        tally[False] += self._tree() != self._outputs
        return _share(tally)

    def _is_borne(self, said: str) -> bool:
        lines = [line for line in said.splitlines() if not line.startswith("warning: ")]
        kept = self._tree() == self._outputs and not list(self._disk.rglob(".*.partial-*"))
        shutil.rmtree(self._disk / "tmp", ignore_errors=True)  # a process that is killed early cannot tidy up
        (self._disk / "tmp").mkdir(exist_ok=True)
        return kept and len(lines) <= 1 and "Traceback" not in said

    def _started(self) -> "subprocess.Popen[str]":
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self._command,
            cwd=self._disk,
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=pipe,
            text=True,
            start_new_session=True,
        )

    def _run(self) -> tuple[int, str]:
        with self._started() as process:
            _, said = process.communicate()
        return process.returncode, said

    def _run_soundly(self) -> None:
        code, said = self._run()
        if code:
            raise InputError(f"{' '.join(self._command[2:])} ends with {code} where nothing is wrong: {said}")

    def _forget_search(self) -> None:
        """Remove the search's trials: else a finished search would need no room."""
        shutil.rmtree(self._disk / paths.STUDIES, ignore_errors=True)

    @contextmanager
    def _ballast(self, room: int) -> Iterator[None]:
        ballast, status = self._disk / "ballast", os.statvfs(self._disk)
        with ballast.open("wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, max(status.f_bavail * status.f_frsize - room, 1))
        try:
            yield
        finally:
            ballast.unlink()

    def _tree(self) -> Tree:
        files = [file for part in ("data", "metrics") for file in (self._disk / part).rglob("*") if file.is_file()]
        names = {file: file.relative_to(self._disk) for file in files}
        return {str(name): file_hash(file) for file, name in names.items() if name.parts[1] not in _UNDECLARED}


def _share(tally: Counter[bool]) -> str:
    return f"{tally[True]} of {tally.total()}"


if __name__ == "__main__":
    guarded(main)
