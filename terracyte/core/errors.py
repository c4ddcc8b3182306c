"""The one error that people see, and the wrapper that shows it as one line with exit code 2."""

import errno
import sys
from collections.abc import Callable


class InputError(Exception):
    """What the user gave cannot be used.

    The message is one line: what is wrong, where, which value, what to do.
    """


_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


def guarded(main: Callable[[], None]) -> None:
    """Run `main`; on bad input or a full disk print one line to stderr and exit with 2."""
    try:
        main()
    except InputError as error:
        sys.exit(_complain(str(error)))
    except OSError as error:
        if error.errno not in _FULL_DISK:
            raise
        where = f" while writing {error.filename}" if error.filename else ""
        sys.exit(_complain(f"the disk is full{where}: free some space and run the same command again"))


def _complain(message: str) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return 2
