"""Where our servers listen, and by which names they may be asked."""

import argparse
import ipaddress
import socket
import sys

HOST = "127.0.0.1"

_EVERYWHERE = "0.0.0.0"  # all of this machine's addresses


def add_host(parser: argparse.ArgumentParser) -> None:
    """Declare `--host`."""
    parser.add_argument("--host", default=HOST, help=f"address of this machine to listen on ({HOST}: for itself alone)")


def names(host: str) -> list[str]:
    """Names by which a server on `host` answers; all others are refused.

    A foreign page whose own name is made to point here (DNS rebinding) reaches the server under that name.
    """
    if is_local(host):
        return [HOST, "localhost"]
    return list(dict.fromkeys([HOST, "localhost", *(_addresses() if host == _EVERYWHERE else [host.lower()])]))


def is_local(host: str) -> bool:
    """Whether nobody but this machine reaches a server on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def warn(host: str) -> None:
    """Say what it means to listen elsewhere than on this machine alone."""
    if not is_local(host):
        print(
            f"warning: {host}: whoever reaches it may use this server, without account or encryption", file=sys.stderr
        )


def _addresses() -> list[str]:
    import psutil  # here: few servers listen everywhere

    found = [each.address for card in psutil.net_if_addrs().values() for each in card if each.family == socket.AF_INET]
    return [socket.gethostname().lower(), *found]
