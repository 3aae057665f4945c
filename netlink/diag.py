"""Messages of NETLINK_SOCK_DIAG about TCP sockets (linux/inet_diag.h). Pure.

A lookup has exactly one answer, the socket or an error; so has a destruction. The fence of
:mod:`netlink.requests` is not needed: whoever counts the answers knows that he has them all. A
dump ends as those of XFRM do.

IPv4 connections of a socket that listens on ``::`` are IPv6 sockets with mapped addresses. They
are found by their IPv4 addresses, and told by them.
"""

import functools
import ipaddress
import struct
from collections.abc import Iterable
from typing import Final

from netlink.decode import Buffer, MalformedMessage
from netlink.model import family_of, packed_address
from netlink.tcp import ConnectionId, ObservedConnection, TcpConnection, TcpState
from netlink.uapi import (
    AF_INET,
    AF_INET6,
    INET_DIAG_NOCOOKIE,
    IPPROTO_TCP,
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    NLMSG_HDRLEN,
    SOCK_DESTROY,
    SOCK_DIAG_BY_FAMILY,
)

#: Where the local port lies in an answer or a notice, in network order.
LOCAL_PORT_OFFSET: Final = NLMSG_HDRLEN + 4

_HEADER: Final = struct.Struct("=IHHII")
_QUERY: Final = struct.Struct("=BBBxI")  # of inet_diag_req_v2: family, protocol, ext, states
_PORTS: Final = struct.Struct(">HH")
_SOCKET_ID: Final = struct.Struct("=4s16s16sIII")  # ports, source, destination, interface, cookie
_ANSWER: Final = struct.Struct("=BB2x4s16s16s4xII20x")  # inet_diag_msg: family, state, its id
_SIZE: Final = NLMSG_HDRLEN + _QUERY.size + _SOCKET_ID.size
_ALL_STATES: Final = 0xFFFF_FFFF
_COOKIE_OF_NOBODY: Final = 0  # the kernel counts them from 1

# RFC 5737 and RFC 3849 documentation addresses: nobody has a connection between them.
_NOBODY: Final = {
    AF_INET: TcpConnection("192.0.2.1", 9, "192.0.2.2", 9),
    AF_INET6: TcpConnection("2001:db8::1", 9, "2001:db8::2", 9),
}
_UNSPECIFIED: Final = {AF_INET: "0.0.0.0", AF_INET6: "::"}  # noqa: S104  # nothing is bound to it


def lookup(connection: TcpConnection, sequence: int) -> bytes:
    """Ask which socket would get the segments of a connection. It may be a listener."""
    return _request(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, connection, INET_DIAG_NOCOOKIE, sequence)


def destruction(named: ConnectionId, sequence: int) -> bytes:
    """Ask to end this connection and no other."""
    flags = NLM_F_REQUEST | NLM_F_ACK
    return _request(SOCK_DESTROY, flags, named.connection, named.cookie, sequence)


def harmless_destruction(family: int, sequence: int) -> bytes:
    """Ask to end a socket that cannot exist: tells whether the kernel knows how."""
    return destruction(ConnectionId(_NOBODY[family], _COOKIE_OF_NOBODY), sequence)


def empty_dump(family: int, sequence: int) -> bytes:
    """Ask for all sockets in none of the states: tells whether the kernel can look them up.

    A lookup does not tell: without tcp_diag its answer is that of a connection not there.
    """
    return dump(family, (), 0, sequence)


def dump(family: int, states: Iterable[TcpState], local_port: int, sequence: int) -> bytes:
    """Ask for the sockets in these states with this local port; 0 means any."""
    address = _UNSPECIFIED[family]  # a dump does not look at it
    return _request(
        SOCK_DIAG_BY_FAMILY,
        NLM_F_REQUEST | NLM_F_DUMP,
        TcpConnection(address, local_port, address, 0),
        INET_DIAG_NOCOOKIE,
        sequence,
        states=sum(1 << state for state in states),
    )


def _request(
    kind: int,
    flags: int,
    connection: TcpConnection,
    cookie: int,
    sequence: int,
    *,
    states: int = _ALL_STATES,
) -> bytes:
    c = connection
    return (
        _HEADER.pack(_SIZE, kind, flags, sequence, 0)
        + _QUERY.pack(family_of(c.local_address), IPPROTO_TCP, 0, states)
        + _SOCKET_ID.pack(
            _PORTS.pack(c.local_port, c.peer_port),
            packed_address(c.local_address),
            packed_address(c.peer_address),
            0,
            cookie & 0xFFFF_FFFF,
            cookie >> 32,
        )
    )


def observed(buffer: Buffer, start: int, end: int) -> ObservedConnection:
    """Decode ``struct inet_diag_msg``: the answer to a lookup, a part of a dump, a notice."""
    if end - start < _ANSWER.size:
        raise MalformedMessage(f"a struct of {_ANSWER.size} bytes in {end - start}")
    family, number, ports, local, peer, low, high = _ANSWER.unpack_from(buffer, start)
    local_port, peer_port = _PORTS.unpack(ports)
    try:
        state = TcpState(number)
        connection = TcpConnection(
            _address(local, family), local_port, _address(peer, family), peer_port
        )
    except ValueError:
        raise MalformedMessage(f"a socket of family {family} in state {number}") from None
    return ObservedConnection(ConnectionId(connection, low | high << 32), state)


@functools.lru_cache(maxsize=65536)
def _address(packed: bytes, family: int) -> str:
    """Return an address of a 16-byte field as canonical text, a mapped one as the IPv4 it is."""
    if family == AF_INET:
        return ipaddress.IPv4Address(packed[:4]).compressed
    if family != AF_INET6:
        raise ValueError
    address = ipaddress.IPv6Address(packed)
    return (address.ipv4_mapped or address).compressed
