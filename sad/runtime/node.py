"""What ``sadctl check`` asks of the node itself: capability, listeners, strongSwan. Thin I/O.

What the kernel can do is asked by :mod:`sad.mechanisms.probe`; what the operator's own process can
see better than a confined daemon (the clock's state, the guard) is ``sadctl``'s part.
"""

import ipaddress
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

_CAP_NET_ADMIN: Final = 12  # capabilities(7)
_LISTEN: Final = "0A"  # include/net/tcp_states.h
_UNCONNECTED: Final = "07"
_VICI_SOCKETS: Final = ("/run/charon.vici", "/var/run/charon.vici")


def holds_net_admin(status: str) -> bool:
    """Return whether a process may administer the network, from ``/proc/PID/status``."""
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            return bool(int(value, 16) >> _CAP_NET_ADMIN & 1)
    return False


def sockets_of(table: str, state: str) -> Iterator[tuple[str, int]]:
    """Return the local ends in a state, from a table of ``/proc/net``."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 3 and fields[3] == state:
            address, _, port = fields[1].rpartition(":")
            yield _address(address), int(port, 16)


def _address(digits: str) -> str:
    """Words of four bytes in the machine's order; every Linux that is meant here is little."""
    raw = bytes.fromhex(digits)
    words = [raw[i : i + 4][::-1] for i in range(0, len(raw), 4)]
    return ipaddress.ip_address(b"".join(words)).compressed


class Node:
    """The node as this process sees it."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc

    def may_administer(self) -> bool:
        """Whether this process holds CAP_NET_ADMIN."""
        return holds_net_admin((self._proc / "self/status").read_text(encoding="ascii"))

    def listeners(self) -> tuple[frozenset[tuple[str, int]], frozenset[tuple[str, int]]]:
        """Return the (address, port) pairs of UDP sockets, and of listening TCP sockets."""
        udp = self._of(("udp", "udp6"), _UNCONNECTED)
        tcp = self._of(("tcp", "tcp6"), _LISTEN)
        return frozenset(udp), frozenset(tcp)

    def strongswan_socket(self, candidates: Iterable[str] = _VICI_SOCKETS) -> str | None:
        """Return charon's VICI socket, if there is one."""
        return next((path for path in candidates if Path(path).is_socket()), None)

    def _of(self, names: Iterable[str], state: str) -> Iterator[tuple[str, int]]:
        for name in names:
            try:
                table = (self._proc / "self/net" / name).read_text(encoding="ascii")
            except OSError:  # a kernel without IPv6
                continue
            yield from sockets_of(table, state)
