"""The UDP sockets of encapsulated ESP (RFC 3948): opened or taken over, and kept alive through.

The kernel takes ESP out of what comes there by itself; what reaches the socket is IKE, which is
nobody's here, and is dropped. systemd hands the sockets over (``sad-encap.socket``), because the
sandbox of the daemon knows no IP. A port that somebody else has, such as strongSwan, is refused:
who binds last gets the other's packets, and with them a stranger's IKE.
"""

import asyncio
import contextlib
import errno
import logging
import os
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from netlink.model import packed_address
from netlink.uapi import IPPROTO_UDP, UDP_ENCAP, UDP_ENCAP_ESPINUDP
from sad.mechanisms.probe import NodeUnfit
from sad.model.association import Association
from sad.model.endpoint import Endpoint

log = logging.getLogger(__name__)

KEEP_ALIVE: Final = b"\xff"  # RFC 3948 2.3

_PACKETS_PER_WAKE_UP: Final = 64
_SENT_IN_A_TURN: Final = 64
_IP_PKTINFO: Final = 8  # linux/in.h
_ANYWHERE: Final = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}  # noqa: S104 - compared
_TABLES: Final = {socket.AF_INET: "udp", socket.AF_INET6: "udp6"}


class UdpSockets:
    """One socket for each local address and port of endpoints with NAT traversal."""

    def __init__(self, handed_over: Iterable[socket.socket] = ()) -> None:
        self._handed_over = list(handed_over)
        self._by_end: dict[tuple[str, int], socket.socket] = {}
        self._told = False

    def use(self, endpoints: Iterable[Endpoint]) -> None:
        """Have a socket for each endpoint that wants one of its own.

        Raises NodeUnfit; those that were there stay. Sockets that nobody wants any more stay
        open, for SAs may still come in by them.
        """
        wanted = {
            (address, e.nat_port)
            for e in endpoints
            if e.nat_port and not e.nat_shared
            for address in e.addresses
        }
        for end in sorted(wanted - self._by_end.keys()):
            self._by_end[end] = self._taken_over(*end) or _opened(*end)
            self._encapsulate(self._by_end[end])

    def _taken_over(self, address: str, port: int) -> socket.socket | None:
        family = _family(address)
        for given in self._handed_over:
            name = given.getsockname() if given.family == family else ("", 0)
            if name[1] == port and name[0] in (address, _ANYWHERE[family]):
                others = holders(_table(family), address, port, own=self._handed_over)
                if others:
                    raise _in_use(address, port)
                return given
        return None

    def _encapsulate(self, opened: socket.socket) -> None:
        opened.setblocking(False)
        try:
            opened.setsockopt(IPPROTO_UDP, UDP_ENCAP, UDP_ENCAP_ESPINUDP)
        except OSError as error:
            raise NodeUnfit(
                f"UDP encapsulation of ESP ({error.strerror})",
                "use a kernel with CONFIG_XFRM, and CONFIG_INET_ESP or CONFIG_INET6_ESP",
            ) from error
        asyncio.get_running_loop().add_reader(opened, self._drain, opened)

    def _drain(self, opened: socket.socket) -> None:
        with contextlib.suppress(OSError):
            for _ in range(_PACKETS_PER_WAKE_UP):
                opened.recv(1)
                if not self._told:
                    self._told = True
                    log.warning(
                        "IKE packets come to UDP port %d and are dropped: it is for ESP of SIP "
                        "user agents (an IKE daemon of this address wants it for itself)",
                        opened.getsockname()[1],
                    )

    async def keep_alive(
        self, interval: Callable[[], float], present: Callable[[], Iterable[Association]]
    ) -> None:
        """Keep every NAT's memory fresh until cancelled; an interval of 0 pauses that."""
        while True:
            seconds = interval()
            await asyncio.sleep(seconds or 1.0)
            if seconds:
                for number, end in enumerate(_ends_of(present())):
                    self._send(*end)
                    if number % _SENT_IN_A_TURN == _SENT_IN_A_TURN - 1:
                        await asyncio.sleep(0)

    def _send(self, local: str, local_port: int, peer: str, peer_port: int) -> None:
        opened = self._by_end.get((local, local_port))
        if opened is None:
            return
        packed = packed_address(local)
        source = (
            (socket.IPPROTO_IP, _IP_PKTINFO, struct.pack("=i4s4x", 0, packed))
            if opened.family == socket.AF_INET
            else (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, struct.pack("=16si", packed, 0))
        )
        try:
            opened.sendmsg([KEEP_ALIVE], [source], 0, (peer, peer_port))
        except OSError as error:
            log.debug("no keep-alive to %s port %d: %s", peer, peer_port, error.strerror)

    def close(self) -> None:
        """Close all of them."""
        for opened in self._by_end.values():
            asyncio.get_running_loop().remove_reader(opened)
        for opened in {*self._by_end.values(), *self._handed_over}:
            opened.close()


def _ends_of(associations: Iterable[Association]) -> Iterator[tuple[str, int, str, int]]:
    """Yield each NAT port once: the sets of a user agent share it."""
    seen = set()
    for association in tuple(associations):
        udp = association.ipsec_3gpp and association.ipsec_3gpp.encapsulation
        if udp and udp.peer_port:
            local = association.path.local_address
            seen.add((local, udp.local_port, udp.peer_address, udp.peer_port))
    yield from seen


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _opened(address: str, port: int) -> socket.socket:
    """Open a socket without SO_REUSEADDR: a port that somebody else has is refused."""
    opened = None
    try:
        opened = socket.socket(_family(address), socket.SOCK_DGRAM)
        opened.bind((address, port))
    except OSError as error:
        if opened is not None:
            opened.close()
        if error.errno == errno.EADDRINUSE:
            raise _in_use(address, port) from error
        raise NodeUnfit(
            f"a socket for UDP port {port} of {address} ({error.strerror})",
            "systemctl enable sad-encap.socket && systemctl restart sad, which hands it over; "
            "with another nat_port than 4500 name that in a drop-in of it",
        ) from error
    return opened


def _in_use(address: str, port: int) -> NodeUnfit:
    return NodeUnfit(
        f"UDP port {port} of {address} for itself: another program has it, e.g. strongSwan",
        'let them share it with nat_socket = "shared" on the endpoint, or give the other one '
        "another port (strongSwan: charon.port_nat_t), or stop it",
    )


def _table(family: socket.AddressFamily) -> str:
    return Path("/proc/self/net", _TABLES[family]).read_text(encoding="ascii")


def holders(
    table: str, address: str, port: int, *, own: Iterable[socket.socket] = ()
) -> frozenset[int]:
    """Return the inodes of others' sockets at an address and port, of all if bound to any.

    ``table`` is the text of /proc/net/udp or udp6. Pure but for asking ``own`` who they are.
    """
    ours = {os.fstat(s.fileno()).st_ino for s in own}
    packed = packed_address(address)
    words = [packed[i : i + 4][::-1].hex().upper() for i in range(0, len(packed), 4)]
    wanted = {f"{''.join(words)}:{port:04X}", f"{'0' * 2 * len(packed)}:{port:04X}"}
    found = set()
    for line in table.splitlines()[1:]:
        fields = line.split()
        if fields[1] in wanted:
            found.add(int(fields[9]))
    return frozenset(found - ours)
