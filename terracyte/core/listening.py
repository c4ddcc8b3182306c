"""The addresses that our servers listen on, and the host names that they answer to."""

import argparse
import errno
import ipaddress
import socket
import sys

from terracyte.core.errors import InputError

HOST = "127.0.0.1"

_EVERYWHERE = "0.0.0.0"  # all of this machine's addresses


def add_host(parser: argparse.ArgumentParser) -> None:
    """Declare `--host`."""
    parser.add_argument("--host", default=HOST, help=f"address to listen on (default: {HOST}, for this machine only)")


def names(host: str) -> list[str]:
    """Return the host names that a server on `host` answers to; it refuses all others.

    This prevents DNS rebinding: a foreign page whose host name is made to point here uses that name in its requests.
    """
    return list(dict.fromkeys([HOST, "localhost", host.lower(), *(_addresses() if host == _EVERYWHERE else [])]))


def address(host: str, port: int) -> str:
    """Return the URL at which a browser on this machine finds a server on `host`."""
    return f"http://{HOST if host == _EVERYWHERE else host}:{port}"


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that already listens on `host` and `port`.

    Raises:
        InputError: the host is no address of this machine, or the port cannot be used.
    """
    if not host:
        raise InputError("--host is empty: name an address of this machine, or leave it out")
    # asyncio sets TCP_NODELAY only if the protocol is named: else each answer waits 40 ms until its headers arrived
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # from here on the port is taken; early requests wait
    except (OSError, OverflowError) as error:
        listener.close()
        why = error.strerror if isinstance(error, OSError) else "ports are 0 to 65535"
        if isinstance(error, socket.gaierror) or (isinstance(error, OSError) and error.errno == errno.EADDRNOTAVAIL):
            raise InputError(
                f"--host is {host!r}, which is not an IPv4 address of this machine ({why}): correct it, or leave it out"
            ) from error
        raise InputError(f"port {port} of {host} cannot be used ({why}): choose another, as in --port 5002") from error
    return listener


def warn(host: str) -> None:
    """Print a warning if other machines can reach a server on `host`."""
    try:
        is_local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_local = host == "localhost"
    if not is_local:
        print(
            f"warning: {host}: anyone who can reach this address can use the server; it has no login and no encryption",
            file=sys.stderr,
        )


def _addresses() -> list[str]:
    import psutil  # imported here: few servers listen everywhere

    found = [each.address for card in psutil.net_if_addrs().values() for each in card if each.family == socket.AF_INET]
    return [socket.gethostname().lower(), *found]
