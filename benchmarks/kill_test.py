"""Kill a small experiment at random moments, resume it, and compare its outputs with those of an undisturbed run.

python -m benchmarks.kill_test [--kills 100] [--seed 0] [--folder DIR]

Each kill starts from the finished experiment without what one stage has made: its outputs, its entry in dvc.lock, DVC's
cached copies of both, a search's trials and MLflow's record of it. `dvc repro` is started, or in a quarter of the cases
`terracyte repro`, and all its processes get SIGKILL: at a random moment of that stage or of DVC's own work after it, or
while DVC writes dvc.lock. The same command must then complete the experiment, with the same bytes in `metrics/` and, by
dvc.lock, in all other outputs. If `dvc repro` refuses what it finds, `terracyte repro` must repair and complete it.
"""

import argparse
import contextlib
import dataclasses
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from ruamel.yaml import YAML

from benchmarks import small_experiment
from terracyte.core import dvc
from terracyte.core.errors import InputError, guarded

_WRITING = "(dvc.lock half written)"  # the table's row of these kills, in place of a stage
_STATE = ("data", "metrics", "dvc.lock", ".dvc")
_TRIES = 5  # attempts: a stage may take less time than before, and end before its kill
_POLL, _PATIENCE = 0.005, 600  # seconds
_GOLDEN = 0.618034
_DVC, _TERRACYTE = "dvc repro", "terracyte repro"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kill:
    """One kill to be made.

    Attributes:
        stage: the stage to kill.
        command: the command that runs it.
        share: the share of the stage's time after which it is killed; None to kill while DVC writes dvc.lock.
    """

    stage: str
    command: str
    share: float | None

    @property
    def word(self) -> str:
        """The row of the table that counts this kill."""
        return _WRITING if self.share is None else _word(self.stage)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """The outcome of a kill.

    Attributes:
        completed: the killed command, run again, completed the experiment.
        mended: `terracyte repro` completed it, after `dvc repro` had failed.
        equal: all outputs equal those of the undisturbed run.
    """

    completed: bool
    mended: bool
    equal: bool


class Experiment:
    """The small experiment, which an undisturbed `dvc repro` has finished.

    Attributes:
        seconds: the time that each stage took, including DVC's work after it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._finished, self._log = folder / "experiment", folder / "finished", folder / "log"
        small_experiment.write(self._folder)
        with self._running(_DVC) as process:
            self.seconds = self._measure(process)
        if process.returncode:
            raise InputError(f"the undisturbed run failed: {self._log} says why")
        self._metrics, self._entries = small_experiment.metrics(self._folder), self._read_lock()["stages"]
        for name in _STATE:
            _copy(self._folder / name, self._finished / name)

    def survive(self, kill: Kill) -> Result:
        """Make a kill, complete the experiment and return the outcome."""
        share = kill.share
        for _ in range(_TRIES):
            self._begin_before(kill.stage)
            if self._hit(kill.stage, kill.command, share):
                break
            share = None if share is None else 0.7 * share
        else:
            raise InputError(f"{kill.stage} has always ended before its kill: {self._log} says how")
        completed = self._complete(kill.command)
        if not completed:
            print(self._said()[-500:], file=sys.stderr)
        mended = not completed and kill.command == _DVC and self._complete(_TERRACYTE)
        return Result(completed=completed, mended=mended, equal=(completed or mended) and self._is_equal())

    def keep(self, name: str) -> None:
        """Copy the present state to a folder beside the experiment."""
        _copy(self._folder, self._folder.with_name(name))
        _copy(self._log, self._folder.with_name(name) / "log")

    def _begin_before(self, stage: str) -> None:
        for name in _STATE:
            _copy(self._finished / name, self._folder / name)
        lock, cache = self._read_lock(), self._folder / ".dvc/cache"
        entry = lock["stages"].pop(stage)
        for output in entry["outs"]:
            _remove(self._folder / output["path"])
            _forget(cache / "files/md5", output["md5"])
        with (self._folder / "dvc.lock").open("w", encoding="utf-8") as stream:
            YAML().dump(lock, stream)
        for run in (cache / "runs").glob("*/*/*"):
            if run.read_text(encoding="utf-8").startswith(f"cmd: {entry['cmd']}\n"):
                _remove(run.parent)
        if stage.startswith("tune"):
            _remove(self._folder / "data/optuna")
            _remove(self._folder / "data/mlflow")

    def _hit(self, stage: str, command: str, share: float | None) -> bool:
        """Run a command and kill it; return whether the moment for the kill came before the command ended."""
        lock = self._folder / "dvc.lock"
        size = lock.stat().st_size
        with self._running(command) as process:
            if not _await(process, lambda: f"Running stage '{stage}':" in self._said()):
                raise InputError(f"{stage} was not run: {self._log} says why")
            end = time.monotonic() + (share or 0.0) * self.seconds[stage]
            return _await(process, lambda: lock.stat().st_size < size if share is None else time.monotonic() >= end)

    def _complete(self, command: str) -> bool:
        with self._running(command) as process:
            return process.wait() == 0

    def _is_equal(self) -> bool:
        return small_experiment.metrics(self._folder) == self._metrics and self._read_lock()["stages"] == self._entries

    def _read_lock(self) -> Any:
        return YAML(typ="safe").load((self._folder / "dvc.lock").read_text(encoding="utf-8"))

    def _said(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def _measure(self, process: subprocess.Popen[bytes]) -> dict[str, float]:
        begun: dict[str, float] = {}
        while process.poll() is None:
            for stage in re.findall(r"Running stage '([^']+)':", self._said()):
                begun.setdefault(stage, time.monotonic())
            time.sleep(_POLL)
        ends = [*begun.values(), time.monotonic()]
        return {stage: end - start for stage, (start, end) in zip(begun, itertools.pairwise(ends), strict=True)}

    @contextmanager
    def _running(self, command: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a command in a session of its own, all of which is killed at the end of the block."""
        arguments = dvc.command("repro") if command == _DVC else [sys.executable, "-m", "terracyte.cli", "repro"]
        own = {"PYTHONPATH": str(self._folder), "DVC_SITE_CACHE_DIR": str(self._folder.with_name("site"))}
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                arguments,
                cwd=self._folder,
                env={**dvc.environment(), **own, "DVC_NO_ANALYTICS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            _await_end(process.pid)


def _await(process: subprocess.Popen[bytes], has_come: Callable[[], bool]) -> bool:
    """Wait for a condition; return whether it held before the process ended."""
    end = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < end:
        if has_come():
            return True
        time.sleep(_POLL)
    return False


def _await_end(session: int) -> None:
    """Wait until the last process of a session that was killed is gone."""
    end = time.monotonic() + _PATIENCE
    while left := [number for number in psutil.pids() if _session(number) == session]:
        if time.monotonic() > end:
            raise InputError(f"processes {left} have outlived their SIGKILL")
        time.sleep(_POLL)


def _session(number: int) -> int | None:
    try:
        return os.getsid(number)
    except ProcessLookupError:
        return None


def _forget(cache: Path, name: str) -> None:
    """Remove an object from DVC's cache, and the files of a folder with it."""
    file = cache / name[:2] / name[2:]
    if name.endswith(".dir") and file.exists():
        for entry in json.loads(file.read_text(encoding="utf-8")):
            _forget(cache, entry["md5"])
    file.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    """Copy a file or a folder in place of what was there."""
    _remove(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True)
    else:
        shutil.copy2(source, target)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def plan(stages: Sequence[str], kills: int, seed: int) -> list[Kill]:
    """Plan rounds that kill each stage once, in random order; every tenth kill hits DVC while it writes dvc.lock.

    The tasks of a `stage@task` take turns. A stage's first moment is random, and each further one is shifted by the
    golden ratio, which spreads any number of moments evenly over the stage's time.
    """
    chance = random.Random(seed)
    of_word = {word: [each for each in stages if _word(each) == word] for word in map(_word, stages)}
    first = {word: chance.random() for word in of_word}
    made: list[Kill] = []
    order: list[str] = []
    hits: Counter[str] = Counter()
    for n in range(kills):
        command = _DVC if chance.random() < 0.75 else _TERRACYTE
        if n % 10 == 9:
            made.append(Kill(stage=chance.choice(stages), command=command, share=None))
            continue
        order = order or chance.sample(list(of_word), len(of_word))
        word = order.pop()
        stage, share = of_word[word][hits[word] % len(of_word[word])], (first[word] + hits[word] * _GOLDEN) % 1
        hits[word] += 1
        made.append(Kill(stage=stage, command=command, share=share))
    return made


def _word(stage: str) -> str:
    return stage.partition("@")[0]


def table(results: Sequence[tuple[Kill, Result]], words: Sequence[str]) -> str:
    """Return the outcomes of the kills by stage, as a Markdown table."""
    lines = ["| killed in | kills | completed | completed after mending | all outputs equal |", "|---|---|---|---|---|"]
    for word in [*words, "all"]:
        found = [result for kill, result in results if word in (kill.word, "all")]
        counts = [sum(getattr(each, name) for each in found) for name in ("completed", "mended", "equal")]
        lines.append(f"| {word} | {len(found)} | {' | '.join(map(str, counts))} |")
    return "\n".join(lines)


def main() -> None:
    """Make the kills and print the outcomes; exit with 1 if one was not completed, or not with the same outputs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="how many (100)")
    parser.add_argument("--seed", type=int, default=0, help="of stages and moments (0)")
    parser.add_argument("--folder", type=Path, help="where the experiment is made, and stays (a temporary folder)")
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="terracyte-")))
        folder.mkdir(parents=True, exist_ok=True)
        results = _kill(Experiment(folder.resolve()), given.kills, given.seed)
    if not all(result.equal for _, result in results):
        sys.exit(1)


def _kill(experiment: Experiment, kills: int, seed: int) -> list[tuple[Kill, Result]]:
    results = []
    try:
        for n, kill in enumerate(plan(list(experiment.seconds), kills, seed)):
            result = experiment.survive(kill)
            results.append((kill, result))
            print(n, kill, result, file=sys.stderr, flush=True)
            if not result.equal:
                experiment.keep(f"failed_{n}")
    finally:  # after Ctrl-C, too: all kills take an hour
        print(table(results, [*dict.fromkeys(map(_word, experiment.seconds)), _WRITING]))
    return results


if __name__ == "__main__":
    guarded(main)
