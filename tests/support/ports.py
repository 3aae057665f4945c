"""Ports of loopback for servers of tests, which run beside other tests."""

import contextlib
import random
import socket
from typing import Final

#: Below the range that the kernel chooses from: no connection of another test has one of them as
#: its own port between the looking and the binding. Where one looks first is drawn.
_RANGE: Final = range(30_000, 32_768)


def free_ports(address: str, count: int) -> list[int]:
    """Return ports of an address that nobody holds, neither over UDP nor over TCP."""
    found: list[int] = []
    first = random.randrange(len(_RANGE))
    for number in range(len(_RANGE)):
        port = _RANGE[(first + number) % len(_RANGE)]
        if _is_free(address, port):
            found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"{address} has no {count} free ports in {_RANGE}")


def _is_free(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.ExitStack() as stack:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            probe = stack.enter_context(socket.socket(family, kind))
            try:
                probe.bind((address, port))
            except OSError:
                return False
    return True
