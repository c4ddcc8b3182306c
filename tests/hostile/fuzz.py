"""Feed random inputs to each reader for as long as you like: `make fuzz SECONDS=600`, or

    python -m tests.hostile.fuzz READER… [--seconds 600] [--seed 0] [--case 17]

The seed and the number of a case determine its input. A child process reads it, within a gigabyte and some seconds.
A case that is neither read nor refused with one line is reported, with the command that repeats it.
"""

import argparse
import gc
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

from tests.hostile import mutations
from tests.hostile.guard import bounded, outcome
from tests.hostile.readers import READERS, Reader, remove

_LIMIT = 20.0  # seconds for a case
_MOST_TOLD = 20  # findings per reader; more would mostly repeat these
_COMMAND = "python -m tests.hostile.fuzz"


def main() -> None:
    """Fuzz the readers; exit with 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("readers", nargs="*", metavar="READER", help=f"of {', '.join(READERS)}; all of them")
    parser.add_argument("--seconds", type=float, default=600, help="for each reader (600)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="this one alone, with its traceback")
    arguments = parser.parse_args()
    found = 0
    for name in arguments.readers or READERS:
        if arguments.case is not None:
            _repeat(name, arguments.seed, arguments.case)
        else:
            found += _fuzz(name, arguments.seed, arguments.seconds)
    sys.exit(1 if found else 0)


def _fuzz(name: str, seed: int, seconds: float) -> int:
    """Print the findings of a reader with random inputs, and return their number."""
    known = _seeds(READERS[name])
    findings, cases, end = dict[str, int](), 0, time.monotonic() + seconds
    while time.monotonic() < end and len(findings) < _MOST_TOLD:
        with tempfile.TemporaryDirectory() as folder:
            cases, problem = _watch(name, seed, cases, end, Path(folder), known)
        if problem and problem not in findings:
            findings[problem] = cases - 1
            print(f"{name}: {problem}\n  {_COMMAND} {name} --seed {seed} --case {cases - 1}", flush=True)
    print(f"{name}: {cases} cases in {seconds:.0f} s, {len(findings)} findings", flush=True)
    return len(findings)


def _watch(name: str, seed: int, first: int, end: float, folder: Path, known: list[bytes]) -> tuple[int, str]:
    """Read cases from `first` on in a child process; return the next case and what ended it early, or ""."""
    receiving, sending = os.pipe()
    child = os.fork()
    if not child:
        os.close(receiving)
        _read_cases(name, seed, first, folder, known, sending)
    os.close(sending)
    case, told = first, ""
    while time.monotonic() < end:
        if not select.select([receiving], [], [], _LIMIT)[0]:
            told = f"case takes more than {_LIMIT:g} s"
            break
        sent = os.read(receiving, 4096).decode("utf-8", "replace")
        told = sent.lstrip(".")
        case += len(sent) - len(told)
        if told or not sent:
            told = told or "process ended without a word"
            break
    os.kill(child, signal.SIGKILL)
    os.close(receiving)
    os.waitpid(child, 0)
    return case + bool(told), told


def _read_cases(name: str, seed: int, case: int, folder: Path, known: list[bytes], sending: int) -> None:
    """In the child, send a dot for each case that ends as it should, and a line for the first that does not."""
    for stream in (1, 2):  # native libraries such as libtiff print, too
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", module=r"PIL\.")
    os.chdir(folder)
    with bounded():
        while True:
            problem = _read_one(name, seed, case, folder, known)
            os.write(sending, (problem or ".").encode("utf-8", "replace")[:4000])
            if problem:
                os._exit(1)
            case += 1
            if case % 1000 == 0:
                gc.collect()  # cycles of few objects, which rarely trigger it, hold zlib's buffers


def _read_one(name: str, seed: int, case: int, folder: Path, known: list[bytes]) -> str:
    """Read a case; return what is wrong with its outcome, or "" if nothing is."""
    path = _write(READERS[name], seed, case, folder, known)
    try:
        outcome(READERS[name].read, path)
    except BaseException as error:  # any other error is a finding
        return _place_of(error)
    if Path("pwned").exists() or path.with_name("pwned").exists():
        return "it ran what the file says"
    return ""


def _write(reader: Reader, seed: int, case: int, folder: Path, known: list[bytes]) -> Path:
    draw, path = random.Random(f"{seed} {case}"), folder / "given" / reader.name
    shutil.rmtree(path.parent, ignore_errors=True)
    path.parent.mkdir()
    if reader.family == "tree":
        mutations.change_tree(path, draw, known)
    else:
        remove(path)
        path.write_bytes(mutations.changed(reader.family, known, draw))
    return path


def _seeds(reader: Reader) -> list[bytes]:
    if reader.family == "tree":
        return mutations.seeds("picture", "x.png")
    return mutations.seeds(reader.family, reader.name)


def _repeat(name: str, seed: int, case: int) -> None:
    """Read a case in this process, so that its traceback is shown, and keep its file."""
    folder = Path(tempfile.mkdtemp())
    path = _write(READERS[name], seed, case, folder, _seeds(READERS[name]))
    print(path, flush=True)
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", module=r"PIL\.")
    with bounded():
        print(outcome(READERS[name].read, path) or "it is read")


def _place_of(error: BaseException) -> str:
    """Return the type, place and message of an error; cases with the same ones are one finding."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/terracyte/" in frame.filename] or frames
    last = frames[-1]
    where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}, {Path(last.filename).name}:{last.lineno}"
    return f"{type(error).__name__} at {where}: {str(error)[:200]}".replace(".", "·")


if __name__ == "__main__":
    main()
