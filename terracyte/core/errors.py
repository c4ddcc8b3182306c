"""The one error that is shown to users, and the wrapper that prints it as one line and exits with code 2."""

import errno
import io
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable
from types import FrameType

_LONGEST = 2000  # characters of a message, which may quote untrusted input
FULL = (errno.ENOSPC, errno.EDQUOT)  # `errno` of an OSError: the disk or the user's quota is full

_SIGNAL = 128  # what a shell adds to the number of the signal that ended a process


class InputError(Exception):
    """The user's input cannot be used.

    The message is one line: what is wrong, where, which value, what to do.
    """


class UnusableFileError(InputError):
    """A file of our own is missing or damaged.

    Args:
        problem: which file, and what is wrong with it.
        advice: what to do about it.
    """

    def __init__(self, problem: str, advice: str = "delete it and run `dvc repro`, which makes it") -> None:
        super().__init__(problem, advice)  # unpickling a worker process's error passes these to the constructor
        self.problem = problem

    def __str__(self) -> str:
        return ": ".join(self.args)


def one_line(message: str) -> str:
    """Return the message as one line that is safe to print on a terminal: the middle of a long message is left out,
    unprintable characters are escaped."""
    words = " ".join(message.split())
    line = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in words)
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} … {line[-_LONGEST // 2 :]}"


def tell(line: str) -> None:
    """Print a note or warning to stderr as one line, above an open progress bar."""
    from tqdm import tqdm  # imported here: `--help` needs none of it

    tqdm.write(one_line(line), file=sys.stderr)


def masked(text: str) -> str:
    """Return the text with the passwords of its URLs masked: `http://me:***@host`, `postgresql://host/db?password=***`.

    A password ends at the last `@` of its word: some URL parsers accept passwords that contain `/`, `:` or `@`.
    """
    text = re.sub(r"(?<=://)([^\s/:@]*):\S*@", r"\1:***@", text)
    return re.sub(r"(?i)([?&](?:\w*password|token)=)[^&\s]+", r"\1***", text)


def guarded(main: Callable[[], None]) -> None:
    """Run `main`; on bad input or a failing file operation print one line to stderr and exit with 2.

    Ctrl-C also prints one line, with exit code 130, and so do SIGTERM (143) and SIGHUP (129): `main` cleans up after
    itself as it does after an error. Any other exception is a defect and keeps its traceback.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # for example, Latin-1 has no "✓"
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:  # for example, nohup ignores SIGHUP
            signal.signal(number, _terminate)
    try:
        main()
    except (InputError, OSError) as error:
        _exit(2, f"error: {explained(error)}")
    except KeyboardInterrupt as error:
        _exit(_SIGNAL + signal.SIGINT, f"interrupted{f': {error}' if error.args else ''}")


def _terminate(number: int, _: FrameType | None) -> None:
    _exit(_SIGNAL + number, f"ended by {signal.Signals(number).name}")


def _exit(code: int, message: str) -> None:
    print(one_line(masked(message)), file=sys.stderr)
    sys.exit(code)


def explained(error: InputError | OSError) -> str:
    """Return what is wrong in one sentence, with advice where the disk is full."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, shutil.Error) and isinstance(error.args[0], list):  # (source, target, message) per file
        (_, target, problem), *_ = error.args[0]
        number = re.match(r"\[Errno (\d+)\]", problem)
        return explained(OSError(int(number[1]), os.strerror(int(number[1])), target)) if number else problem
    if error.errno in FULL:
        where = f" while writing {error.filename}" if error.filename else ""
        return f"the disk is full{where}: free some space and run the same command again"
    file = error.filename2 or error.filename  # the target of a move, whose source is a temporary
    if error.strerror and file:
        return f"{file}: {error.strerror}"
    return error.strerror or str(error) or type(error).__name__
