"""Messages of NETLINK_SOCK_DIAG about one TCP socket (linux/inet_diag.h). Pure.

A lookup has exactly one answer, the socket or an error; so has a destruction. The fence of
:mod:`netlink.requests` is not needed: whoever counts the answers knows that he has them all.
"""

import struct
from dataclasses import dataclass
from typing import Final

from netlink.decode import Buffer, MalformedMessage
from netlink.model import TcpConnection, family_of, packed_address
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
    TCP_LISTEN,
)

_HEADER: Final = struct.Struct("=IHHII")
_QUERY: Final = struct.Struct("=BBBxI")  # of inet_diag_req_v2: family, protocol, ext, states
_PORTS: Final = struct.Struct(">HH")
_SOCKET_ID: Final = struct.Struct("=4s16s16sI8s")  # ports, source, destination, interface, cookie
_ANSWER: Final = struct.Struct("=xB2x40x8s20x")  # of inet_diag_msg: state, cookie
_SIZE: Final = NLMSG_HDRLEN + _QUERY.size + _SOCKET_ID.size
_ALL_STATES: Final = 0xFFFF_FFFF
_NO_COOKIE_OF_ANYBODY: Final = bytes(8)  # the kernel counts them from 1

# RFC 5737 and RFC 3849 documentation addresses: nobody has a connection between them.
_NOBODY: Final = {
    AF_INET: TcpConnection("192.0.2.1", 9, "192.0.2.2", 9),
    AF_INET6: TcpConnection("2001:db8::1", 9, "2001:db8::2", 9),
}


@dataclass(frozen=True, slots=True)
class FoundSocket:
    """What a lookup found. ``cookie`` is the kernel's own name of it, never given twice.

    A connection keeps its cookie from the first SYN to the end of TIME_WAIT.
    """

    cookie: bytes
    listening: bool


def lookup(connection: TcpConnection, sequence: int) -> bytes:
    """Ask which socket would get the segments of a connection. It may be a listener."""
    return _request(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, connection, INET_DIAG_NOCOOKIE, sequence)


def destruction(connection: TcpConnection, cookie: bytes, sequence: int) -> bytes:
    """Ask to end a socket that a lookup found."""
    return _request(SOCK_DESTROY, NLM_F_REQUEST | NLM_F_ACK, connection, cookie, sequence)


def harmless_destruction(family: int, sequence: int) -> bytes:
    """Ask to end a socket that cannot exist: tells whether the kernel knows how."""
    return destruction(_NOBODY[family], _NO_COOKIE_OF_ANYBODY, sequence)


def empty_dump(family: int, sequence: int) -> bytes:
    """Ask for all sockets in none of the states: tells whether the kernel can look them up.

    A lookup does not tell: without tcp_diag its answer is that of a connection not there.
    """
    flags = NLM_F_REQUEST | NLM_F_DUMP
    return _request(
        SOCK_DIAG_BY_FAMILY, flags, _NOBODY[family], INET_DIAG_NOCOOKIE, sequence, states=0
    )


def _request(
    kind: int,
    flags: int,
    connection: TcpConnection,
    cookie: bytes,
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
            cookie,
        )
    )


def found(buffer: Buffer, start: int, end: int) -> FoundSocket:
    """Decode ``struct inet_diag_msg``, the answer to a lookup."""
    if end - start < _ANSWER.size:
        raise MalformedMessage(f"a struct of {_ANSWER.size} bytes in {end - start}")
    state, cookie = _ANSWER.unpack_from(buffer, start)
    return FoundSocket(cookie=cookie, listening=state == TCP_LISTEN)
