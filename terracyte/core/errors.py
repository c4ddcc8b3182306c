"""The one error that people see, and the wrapper that shows it as one line with exit code 2."""

import errno
import io
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable
from types import FrameType

_LONGEST = 2000  # characters of a message, which may quote what strangers wrote
FULL = (errno.ENOSPC, errno.EDQUOT)  # of an OSError: the disk, or the user's share of it

_SIGNAL = 128  # what a shell adds to the number of the signal that ended a process


class InputError(Exception):
    """What the user gave cannot be used.

    The message is one line: what is wrong, where, which value, what to do.
    """


class UnusableFileError(InputError):
    """A file of our own is missing or damaged.

    Args:
        problem: which file, and what is wrong with it.
        advice: what to do about it.
    """

    def __init__(self, problem: str, advice: str) -> None:
        super().__init__(problem, advice)  # those of the signature: the error of a worker process is made anew here
        self.problem = problem

    def __str__(self) -> str:
        return ": ".join(self.args)


def one_line(message: str) -> str:
    """The message as one line that a terminal shows as it stands: too long a middle is left out, what a terminal would
    obey is written out."""
    words = " ".join(message.split())
    line = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in words)
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} … {line[-_LONGEST // 2 :]}"


def masked(text: str) -> str:
    """The text without the passwords of the addresses in it: `http://me:***@host`, `postgresql://host/db?password=***`.

    A password ends at the last `@` of its word: some readers of addresses take one with `/`, `:` or `@` in it.
    """
    text = re.sub(r"(?<=://)([^\s/:@]*):\S*@", r"\1:***@", text)
    return re.sub(r"(?i)([?&](?:\w*password|token)=)[^&\s]+", r"\1***", text)


def guarded(main: Callable[[], None]) -> None:
    """Run `main`; on bad input or a failing file operation print one line to stderr and exit with 2.

    Ctrl-C is one line too, with exit code 130; so are the signals that end a process from outside (143 for SIGTERM):
    `main` cleans up after itself as it does after an error. Any other exception is a defect and keeps its traceback.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # Latin-1, say, cannot show a "✓"
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:  # nohup, say, ignores one of them
            signal.signal(number, _terminate)
    try:
        main()
    except InputError as error:
        _exit(2, f"error: {error}")
    except OSError as error:
        _exit(2, f"error: {_describe(error)}")
    except KeyboardInterrupt as error:
        _exit(_SIGNAL + signal.SIGINT, f"interrupted{f': {error}' if error.args else ''}")


def _terminate(number: int, _: FrameType | None) -> None:
    _exit(_SIGNAL + number, f"ended by {signal.Signals(number).name}")


def _exit(code: int, message: str) -> None:
    print(one_line(masked(message)), file=sys.stderr)
    sys.exit(code)


def _describe(error: OSError) -> str:
    if isinstance(error, shutil.Error) and isinstance(error.args[0], list):  # of a folder: each file's paths and words
        (_, target, problem), *_ = error.args[0]
        number = re.match(r"\[Errno (\d+)\]", problem)
        return _describe(OSError(int(number[1]), os.strerror(int(number[1])), target)) if number else problem
    if error.errno in FULL:
        where = f" while writing {error.filename}" if error.filename else ""
        return f"the disk is full{where}: free some space and run the same command again"
    file = error.filename2 or error.filename  # of a move the target: its source is a temporary
    if error.strerror and file:
        return f"{file}: {error.strerror}"
    return error.strerror or str(error) or type(error).__name__
