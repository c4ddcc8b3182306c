"""The one error that people see, and the wrapper that shows it as one line with exit code 2."""

import errno
import io
import sys
from collections.abc import Callable


class InputError(Exception):
    """What the user gave cannot be used.

    The message is one line: what is wrong, where, which value, what to do.
    """


class UnusableFileError(InputError, ValueError):
    """A file that a stage writes is missing or damaged; a ValueError too, for callers that have better advice."""


def guarded(main: Callable[[], None]) -> None:
    """Run `main`; on bad input or a failing file operation print one line to stderr and exit with 2.

    Ctrl-C is one line too, with exit code 130. Any other exception is a defect and keeps its traceback.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # Latin-1, say, cannot show a "✓"
    try:
        main()
    except InputError as error:
        _exit(2, f"error: {error}")
    except OSError as error:
        _exit(2, f"error: {_describe(error)}")
    except KeyboardInterrupt:
        _exit(130, "interrupted")


def _exit(code: int, message: str) -> None:
    print(" ".join(message.split()), file=sys.stderr)
    sys.exit(code)


def _describe(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" while writing {error.filename}" if error.filename else ""
        return f"the disk is full{where}: free some space and run the same command again"
    file = error.filename2 or error.filename  # of a move the target: its source is a temporary
    if error.strerror and file:
        return f"{file}: {error.strerror}"
    return error.strerror or str(error) or type(error).__name__
